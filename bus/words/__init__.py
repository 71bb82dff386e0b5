"""Room: bus -- the record in words: lines, sentences, causes.

Knows:     the vocabulary.
Known by:  circusctl, circus-replay, circus.testing: what they tell of a record is the same.
Never:     is imported by what decides or by what starts a worker.
"""
