# Says its arguments every five seconds; ends at once when asked to.
trap 'echo "greeter: goodbye"; exit 0' TERM INT
while :; do
    echo "greeter: $*"
    sleep 5 &
    wait $!
done
