"use strict";
// What the page knows: the record as columns, lives and lanes, the search, the chains of causes.
// Nothing here draws or listens.

const RECORD_COLUMNS = ["seq", "at", "cause", "life", "name", "subject", "text", "pid", "kind"];
const LIFE_COLUMNS = ["lane", "outcome", "wanted", "spawned", "filled", "stopping", "ended"];
const CHAIN_MAX = 40;

async function inflated(base64) {
  const raw = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

// The first index in [low, high) at which `at(index) >= value`; high if there is none.
function lowerBound(at, value, low, high) {
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (at(middle) < value) low = middle + 1; else high = middle;
  }
  return low;
}

class Tale {
  static async unpacked(tables, base64) {
    return new Tale(tables, await inflated(base64));
  }

  constructor(tables, buffer) {
    Object.assign(this, tables);  // title, names, texts, subjects, kinds, outcomes, begin …
    let offset = 0;
    const column = (length) => {
      const found = new Uint32Array(buffer, offset, length);
      offset += 4 * length;
      return found;
    };
    const rows = Object.fromEntries(RECORD_COLUMNS.map((name) => [name, column(this.records)]));
    const far = column(this.records);
    Object.assign(this, { cause: rows.cause, lifeOf: rows.life, name: rows.name, text: rows.text,
      subject: rows.subject, pid: rows.pid, kind: rows.kind });
    this.seq = new Float64Array(this.records);
    this.at = new Float64Array(this.records);  // microseconds since `begin`
    for (let row = 0, seq = this.firstSeq, at = 0; row < this.records; row++) {
      this.seq[row] = seq += rows.seq[row];
      this.at[row] = at += rows.at[row] + far[row] * 2 ** 32;
    }
    this.end = this.records ? this.at[this.records - 1] : 0;
    this.life = Object.fromEntries(LIFE_COLUMNS.map((name) => [name, column(this.lives)]));
    this.#measureLives();
    this.#findLanes();
  }

  #measureLives() {
    const { wanted, spawned, filled, stopping, ended, lane } = this.life;
    this.from = new Float64Array(this.lives);
    this.to = new Float64Array(this.lives);
    // So many lives of each outcome before this one: what a range holds is a difference of two.
    this.before = this.outcomes.map(() => new Uint32Array(this.lives + 1));
    this.lifeBySpawn = new Map();
    for (let life = 0; life < this.lives; life++) {
      const first = wanted[life] || spawned[life] || filled[life] || stopping[life] || ended[life];
      this.from[life] = this.at[first - 1];
      this.to[life] = ended[life] ? this.at[ended[life] - 1] : this.end;
      this.before.forEach((counts, outcome) => {
        counts[life + 1] = counts[life] + (this.life.outcome[life] === outcome ? 1 : 0);
      });
      const row = first - 1;
      this.lifeBySpawn.set(this.seq[row] - this.lifeOf[row] + 1, life);
    }
    this.laneLives = this.subjects.map(() => [0, 0]);
    for (let life = 0, start = 0; life < this.lives; life++) {
      if (life + 1 === this.lives || lane[life + 1] !== lane[life]) {
        this.laneLives[lane[life]] = [start, life + 1];
        start = life + 1;
      }
    }
  }

  #findLanes() {
    const marks = this.subjects.map(() => []);
    for (let row = 0; row < this.records; row++) {
      if (this.kind[row]) marks[this.subject[row]].push(row);
    }
    this.marks = marks.map((rows) => Uint32Array.from(rows));
    const groups = new Map();
    this.subjects.forEach(([watcher, slot], subject) => {
      if (!groups.has(watcher)) groups.set(watcher, { watcher, subject: -1, lanes: [] });
      const group = groups.get(watcher);
      if (slot === 0) group.subject = subject; else group.lanes.push({ subject, slot });
    });
    this.groups = [...groups.values()];
    this.groups.sort((a, b) => (a.watcher !== "") - (b.watcher !== ""));
    for (const group of this.groups) {
      group.lanes.sort((a, b) => a.slot - b.slot);
      group.alive = this.#alive(group);
    }
  }

  // How many processes of a watcher run, as steps: times, and the number from each time on.
  #alive(group) {
    const steps = [];
    for (const { subject } of group.lanes) {
      for (let life = this.laneLives[subject][0]; life < this.laneLives[subject][1]; life++) {
        const born = this.life.spawned[life];
        if (!born) continue;
        steps.push([this.at[born - 1], 1]);
        if (this.life.ended[life]) steps.push([this.to[life], -1]);
      }
    }
    steps.sort((a, b) => a[0] - b[0] || b[1] - a[1]);
    const count = new Int32Array(steps.length);
    let most = 0;
    for (let step = 0, now = 0; step < steps.length; step++) {
      count[step] = now += steps[step][1];
      most = Math.max(most, now);
    }
    return { at: Float64Array.from(steps, (step) => step[0]), count, most };
  }

  rowOf(seq) {
    const row = lowerBound((index) => this.seq[index], seq, 0, this.records);
    return this.seq[row] === seq ? row : -1;
  }

  lifeOfRow(row) {
    if (!this.lifeOf[row]) return -1;
    return this.lifeBySpawn.get(this.seq[row] - this.lifeOf[row] + 1) ?? -1;
  }

  causeOf(row) {
    return this.cause[row] ? this.seq[row] - this.cause[row] : 0;
  }

  // The records that led to this one, nearest first; a number where one is not on this page.
  chain(row) {
    const links = [];
    while (links.length < CHAIN_MAX) {
      const seq = this.causeOf(row);
      if (!seq) break;
      row = this.rowOf(seq);
      links.push({ seq, row });
      if (row < 0) break;
    }
    return links;
  }

  subjectName(subject) {
    const [watcher, slot] = this.subjects[subject];
    if (!watcher) return "circusd";
    return slot ? `${watcher} (slot ${slot})` : watcher;
  }

  sentence(row) {
    const words = [this.names[this.name[row]], this.subjectName(this.subject[row])];
    if (this.pid[row]) words.push(`pid ${this.pid[row]}`);
    const text = this.texts[this.text[row]];
    return `#${this.seq[row]} ${words.join(" · ")}${text ? ` — ${text}` : ""}`;
  }

  pidOf(life) {
    const { spawned, ended } = this.life;
    return (spawned[life] && this.pid[spawned[life] - 1]) || (ended[life] && this.pid[ended[life] - 1]) || 0;
  }

  // Rows that match: `#12` a number, digits a pid or number, else all words in what a row says.
  search(query) {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return new Uint32Array(0);
    const tests = words.map((word) => this.#test(word));
    const found = [];
    for (let row = 0; row < this.records; row++) {
      if (tests.every((test) => test(row))) found.push(row);
    }
    return Uint32Array.from(found);
  }

  #test(word) {
    if (/^#\d+$/.test(word)) {
      const seq = Number(word.slice(1));
      return (row) => this.seq[row] === seq || (this.lifeOf[row] && this.seq[row] - this.lifeOf[row] + 1 === seq);
    }
    const number = /^\d+$/.test(word) ? Number(word) : -1;
    const has = (text) => (text.toLowerCase().includes(word) ? 1 : 0);
    const names = Uint8Array.from(this.names, has);
    const texts = Uint8Array.from(this.texts, has);
    const subjects = Uint8Array.from(this.subjects, ([watcher]) => has(watcher));
    const outcome = this.outcomes.findIndex(([name]) => name === word);
    return (row) => names[this.name[row]] || texts[this.text[row]] || subjects[this.subject[row]]
      || (number >= 0 && (this.pid[row] === number || this.seq[row] === number))
      || (outcome >= 0 && this.#endsAs(row, outcome));
  }

  #endsAs(row, outcome) {
    const life = this.lifeOfRow(row);
    return life >= 0 && this.life.ended[life] === row + 1 && this.life.outcome[life] === outcome;
  }
}
