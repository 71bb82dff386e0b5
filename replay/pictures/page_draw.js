"use strict";
// How it looks: rows, bars, marks, the strip above. Reads the tale and the view, changes neither.

const LABELS = 170, AXIS = 24, GROUP = 24, LANE = 18, BAR = 12, MARK = 4, HITS_WHOLE = 24;
const SECOND = 1e6, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const STEPS = [
  ...[1, 10, 100, 1e3, 1e4, 1e5].flatMap((unit) => [unit, 2 * unit, 5 * unit]),
  ...[1, 2, 5, 10, 15, 30].map((n) => n * SECOND), ...[1, 2, 5, 10, 15, 30].map((n) => n * MINUTE),
  ...[1, 2, 3, 6, 12].map((n) => n * HOUR), ...[1, 2, 7, 14, 28, 91, 365].map((n) => n * DAY),
];

function path(context, points, closed = true) {
  context.beginPath();
  points.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
  if (closed) context.closePath();
}

// Each outcome has a shape of its own: nobody has to tell colours apart.
const GLYPHS = {
  running: (c, x, y, r) => { path(c, [[x - r, y - r], [x + r, y], [x - r, y + r]]); c.fill(); },
  asked: (c, x, y, r) => c.fillRect(x - r * 0.8, y - r * 0.8, r * 1.6, r * 1.6),
  forced: (c, x, y, r) => {
    path(c, [[x - r, y - r], [x + r, y - r], [x, y + r * 0.4]]); c.fill();
    c.fillRect(x - r, y + r * 0.6, r * 2, r * 0.45);
  },
  clean: (c, x, y, r) => { path(c, [[x - r, y], [x - r * 0.2, y + r * 0.8], [x + r, y - r * 0.8]], false); c.stroke(); },
  failed: (c, x, y, r) => {
    path(c, [[x - r, y - r], [x + r, y + r]], false); c.stroke();
    path(c, [[x - r, y + r], [x + r, y - r]], false); c.stroke();
  },
  killed: (c, x, y, r) => {
    path(c, [[x + r * 0.4, y - r * 1.2], [x - r * 0.8, y + r * 0.2], [x, y + r * 0.2],
      [x - r * 0.4, y + r * 1.2], [x + r * 0.8, y - r * 0.2], [x, y - r * 0.2]]); c.fill();
  },
  lost: (c, x, y) => c.fillText("?", x - 3, y + 4),
  unborn: (c, x, y, r) => { c.beginPath(); c.arc(x, y, r * 0.9, 0, 7); c.stroke(); },
};

const MARKS = {
  command: (c, x, y) => { path(c, [[x - MARK, y - MARK], [x + MARK, y - MARK], [x, y + MARK]]); c.fill(); c.stroke(); },
  reload: (c, x, y) => {
    c.beginPath(); c.arc(x, y, MARK, 0, 7); c.fill(); c.stroke();
    const ink = c.fillStyle;
    c.fillStyle = c.strokeStyle; c.beginPath(); c.arc(x, y, MARK / 2.5, 0, 7); c.fill(); c.fillStyle = ink;
  },
  signal: (c, x, y) => { path(c, [[x, y - MARK - 1], [x + MARK, y], [x, y + MARK + 1], [x - MARK, y]]); c.fill(); c.stroke(); },
  state: (c, x, y) => c.fillRect(x - 1, y - 6, 2, 12),
  wait: (c, x, y) => c.fillRect(x - 1, y - 2, 3, 4),
  trouble: (c, x, y) => {
    path(c, [[x, y - MARK - 2], [x + MARK + 2, y + MARK], [x - MARK - 2, y + MARK]]); c.fill(); c.stroke();
    c.fillStyle = c.strokeStyle; c.fillRect(x - 0.75, y - 2.5, 1.5, 3.5); c.fillRect(x - 0.75, y + 2, 1.5, 1.2);
  },
};

function clockText(microseconds, step) {
  const text = new Date(Math.floor(microseconds / 1000)).toISOString();
  const below = String(Math.floor(microseconds % 1e6)).padStart(6, "0");
  if (step >= DAY) return text.slice(0, 10);
  if (step >= MINUTE) return text.slice(11, 16);
  const digits = step >= SECOND ? 0 : Math.min(6, Math.ceil(-Math.log10(step / SECOND)));
  return text.slice(11, 19) + (digits ? `.${below.slice(0, digits)}` : "");
}

function spanText(microseconds) {
  if (microseconds < 1000) return `${Math.round(microseconds)} µs`;
  if (microseconds < SECOND) return `${(microseconds / 1000).toPrecision(3)} ms`;
  if (microseconds < 2 * MINUTE) return `${(microseconds / SECOND).toPrecision(3)} s`;
  if (microseconds < 2 * HOUR) return `${(microseconds / MINUTE).toFixed(1)} min`;
  return microseconds < 2 * DAY ? `${(microseconds / HOUR).toFixed(1)} h` : `${(microseconds / DAY).toFixed(1)} d`;
}

class Rows {
  constructor(tale) {
    this.tale = tale;
    this.folded = new Set();
    this.lay();
  }

  lay() {
    this.list = [];
    let y = 0;
    const add = (row, height) => { this.list.push({ ...row, y, height }); y += height; };
    for (const group of this.tale.groups) {
      add({ group, subject: group.subject, head: true }, GROUP);
      if (this.folded.has(group)) continue;
      for (const lane of group.lanes) add({ group, subject: lane.subject, slot: lane.slot }, LANE);
    }
    this.height = y;
  }

  fold(group) {
    if (!this.folded.delete(group)) this.folded.add(group);
    this.lay();
  }

  at(y) {
    const index = lowerBound((row) => this.list[row].y + this.list[row].height, y + 1e-6, 0, this.list.length);
    return this.list[index];
  }

  of(subject) {
    return this.list.find((row) => row.subject === subject);
  }
}

class Painter {
  constructor(canvas, tale, rows, view) {
    Object.assign(this, { canvas, tale, rows, view, context: canvas.getContext("2d") });
    this.readColours();
  }

  readColours() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const named = ["back", "fore", "soft", "line", "band", "grid", "chosen", "hit", "ink", "running"];
    this.colour = Object.fromEntries(named.map((name) => [name, colour(name)]));
    this.outcomeColours = this.tale.outcomes.map(([name]) => colour(name));
    this.kindColours = this.tale.kinds.map((name) => (name ? colour(name) : ""));
  }

  resize(width, height) {
    const ratio = window.devicePixelRatio || 1;
    Object.assign(this, { width, height, ratio });
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
  }

  x(at) { return LABELS + (at - this.view.from) / (this.view.to - this.view.from) * (this.width - LABELS); }
  time(x) { return this.view.from + (x - LABELS) / (this.width - LABELS) * (this.view.to - this.view.from); }

  paint(top, marked) {
    const c = this.context;
    this.marked = marked;  // { hits, hitLives, rowHits, chosenLife, chosenRow, dimmed }
    c.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    c.fillStyle = this.colour.back;
    c.fillRect(0, 0, this.width, this.height);
    c.font = "11px system-ui, sans-serif";
    c.textBaseline = "alphabetic";
    const step = this.#grid();
    c.save();
    c.beginPath(); c.rect(0, AXIS, this.width, this.height - AXIS); c.clip();
    for (const row of this.rows.list) {
      const y = row.y - top + AXIS;
      if (y + row.height < AXIS) continue;
      if (y > this.height) break;
      this.#row(row, y);
    }
    c.restore();
    this.#axis(step);
  }

  #grid() {
    const pixels = this.width - LABELS;
    const wanted = (this.view.to - this.view.from) / (pixels / 110);
    const step = STEPS.find((one) => one >= wanted) ?? STEPS.at(-1);
    this.context.fillStyle = this.colour.grid;
    for (const at of this.#ticks(step)) this.context.fillRect(Math.round(this.x(at)), AXIS, 1, this.height);
    return step;
  }

  *#ticks(step) {
    const begin = this.tale.begin;
    let tick = Math.ceil((begin + this.view.from) / step) * step;
    for (let count = 0; tick <= begin + this.view.to && count < 200; tick += step, count++) yield tick - begin;
  }

  #axis(step) {
    const c = this.context;
    c.fillStyle = this.colour.soft;
    for (const at of this.#ticks(step)) {
      const x = Math.round(this.x(at));
      c.fillRect(x, AXIS - 5, 1, 5);
      c.fillText(clockText(this.tale.begin + at, step), x + 3, AXIS - 9);
    }
    c.fillStyle = this.colour.back;
    c.fillRect(0, 0, LABELS - 1, AXIS);
    c.fillStyle = this.colour.soft;
    c.fillText(new Date((this.tale.begin + this.view.from) / 1000).toISOString().slice(0, 10) + " UTC", 8, AXIS - 9);
    c.fillStyle = this.colour.line;
    c.fillRect(0, AXIS - 1, this.width, 1);
    c.fillRect(LABELS - 1, 0, 1, this.height);
  }

  #row(row, y) {
    const c = this.context, middle = y + row.height / 2;
    if (row.head) {
      c.fillStyle = this.colour.band;
      c.fillRect(0, y, this.width, row.height - 1);
    }
    c.save();
    c.beginPath(); c.rect(LABELS, y, this.width - LABELS, row.height); c.clip();
    if (row.head) this.#alive(row, y); else this.#lives(row, y + (LANE - BAR) / 2);
    if (row.subject >= 0) {
      this.#marks(row, middle);
      this.#hits(row, y);
    }
    c.restore();
    this.#label(row, y, middle);
  }

  #label(row, y, middle) {
    const c = this.context;
    c.fillStyle = row.head ? this.colour.band : this.colour.back;
    c.fillRect(0, y, LABELS - 1, row.height - (row.head ? 1 : 0));
    c.fillStyle = row.head ? this.colour.fore : this.colour.soft;
    c.font = row.head ? "600 12px system-ui, sans-serif" : "11px system-ui, sans-serif";
    const arrow = !row.group.lanes.length ? "" : this.rows.folded.has(row.group) ? "▸ " : "▾ ";
    const text = row.head ? arrow + (row.group.watcher || "circusd") : `slot ${row.slot}`;
    c.save();
    c.beginPath(); c.rect(0, y, LABELS - (row.head ? 44 : 6), row.height); c.clip();
    c.fillText(text, row.head ? 8 : 26, middle + 4);
    c.restore();
    c.font = "11px system-ui, sans-serif";
    if (row.head && row.group.alive.most) {
      c.fillStyle = this.colour.soft;
      c.textAlign = "right";
      c.fillText(`max ${row.group.alive.most}`, LABELS - 7, middle + 4);
      c.textAlign = "left";
    }
  }

  // The least and the most processes that ran within each pixel, as an area.
  #alive(row, y) {
    const { at, count, most } = row.group.alive;
    if (!most) return;
    const c = this.context, height = GROUP - 7, floor = y + GROUP - 3;
    let step = lowerBound((index) => at[index], this.view.from, 0, at.length);
    for (let x = LABELS; x < this.width; x++) {
      const until = this.time(x + 1);
      let least = step ? count[step - 1] : 0, greatest = least;
      for (; step < at.length && at[step] < until; step++) {
        least = Math.min(least, count[step]);
        greatest = Math.max(greatest, count[step]);
      }
      if (this.time(x) > this.tale.end) break;
      c.fillStyle = this.colour.running;
      c.globalAlpha = 0.22;
      c.fillRect(x, floor - greatest / most * height, 1, greatest / most * height);
      c.globalAlpha = 0.5;
      c.fillRect(x, floor - least / most * height, 1, least / most * height);
    }
    c.globalAlpha = 1;
  }

  #lives(row, y) {
    const [first, last] = this.tale.laneLives[row.subject];
    const from = this.tale.from;
    const begin = Math.max(first, lowerBound((life) => from[life], this.view.from, first, last) - 1);
    const end = lowerBound((life) => from[life], this.view.to, begin, last);
    if (end - begin > (this.width - LABELS) / 3) this.#crowd(begin, end, y);
    else for (let life = begin; life < end; life++) this.#life(life, y);
  }

  // More lives than can be drawn: each column of two pixels shows its mix of outcomes.
  #crowd(begin, end, y) {
    const c = this.context, { from, to, before, life: { outcome } } = this.tale;
    let life = begin;
    for (let x = LABELS; x < this.width; x += 2) {
      const next = lowerBound((index) => from[index], this.time(x + 2), life, end);
      if (next === life) {
        if (life > begin && to[life - 1] > this.time(x)) {
          this.#fill(outcome[life - 1], -1);
          c.fillRect(x, y, 2, BAR);
        }
        continue;
      }
      let filled = 0;
      before.forEach((counts, kind) => {
        const share = (counts[next] - counts[life]) / (next - life) * BAR;
        if (!share) return;
        this.#fill(kind, -1);
        c.fillRect(x, y + filled, 2, share);
        filled += share;
      });
      life = next;
    }
    c.globalAlpha = 1;
  }

  #fill(outcome, life) {
    const { dimmed, hitLives } = this.marked;
    const dim = dimmed.has(outcome) || (hitLives && life >= 0 && !hitLives[life]);
    this.context.globalAlpha = dim ? 0.2 : 1;
    this.context.fillStyle = this.context.strokeStyle = this.outcomeColours[outcome];
  }

  #life(life, y) {
    const c = this.context, { from, to, at, outcomes, life: moments } = this.tale;
    const left = Math.max(LABELS - 2, this.x(from[life]));
    const right = Math.min(this.width + 2, Math.max(this.x(to[life]), left + 1.5));
    if (right < LABELS) return;
    const outcome = moments.outcome[life], name = outcomes[outcome][0];
    this.#fill(outcome, life);
    const born = moments.spawned[life] ? Math.max(left, this.x(at[moments.spawned[life] - 1])) : right;
    const alpha = c.globalAlpha;
    if (born > left) {  // Asked for, not running yet.
      c.globalAlpha = alpha * 0.35;
      c.fillRect(left, y + 3, born - left, BAR - 6);
      c.globalAlpha = alpha;
    }
    if (right > born) c.fillRect(born, y, Math.max(1, right - born - (right - born > 4 ? 1 : 0)), BAR);
    if (moments.stopping[life]) this.#asked(Math.max(born, this.x(at[moments.stopping[life] - 1])), right, y);
    if (life === this.marked.chosenLife) {
      c.globalAlpha = 1;
      c.strokeStyle = this.colour.chosen; c.lineWidth = 2;
      c.strokeRect(left - 1, y - 2, right - left + 2, BAR + 4);
    }
    if (right - left > 16 || name === "unborn") this.#inside(life, name, left, right, y);
    c.globalAlpha = 1; c.lineWidth = 1;
  }

  // From the wish that it ends to its end.
  #asked(left, right, y) {
    if (right - left < 2) return;
    const c = this.context;
    c.fillStyle = this.colour.back;
    for (let x = left; x < right - 1; x += 4) c.fillRect(x, y + BAR - 4, Math.min(2, right - 1 - x), 3);
  }

  #inside(life, name, left, right, y) {
    const c = this.context, tale = this.tale;
    const outside = name === "unborn";
    c.fillStyle = c.strokeStyle = outside ? this.outcomeColours[tale.life.outcome[life]] : this.colour.ink;
    c.lineWidth = 1.8;
    GLYPHS[name](c, outside ? right + 4 : right - 8, y + BAR / 2, 3.4);
    if (right - left < 70 || outside) return;
    c.fillStyle = this.colour.ink;
    c.save();
    c.beginPath(); c.rect(left, y, right - left - 16, BAR); c.clip();
    const ended = tale.life.ended[life];
    const how = ended ? ` · ${tale.texts[tale.text[ended - 1]]}` : "";
    const born = tale.life.spawned[life];
    const ran = born ? ` · ${spanText(tale.to[life] - tale.at[born - 1])}` : "";
    c.fillText(`pid ${tale.pidOf(life)}${ran}${how}`, Math.max(left, LABELS) + 4, y + BAR - 2.5);
    c.restore();
  }

  #marks(row, middle) {
    const c = this.context, { at, kind, kinds } = this.tale, rows = this.tale.marks[row.subject];
    const begin = lowerBound((index) => at[rows[index]], this.time(LABELS - 8), 0, rows.length);
    const end = lowerBound((index) => at[rows[index]], this.time(this.width + 8), begin, rows.length);
    const drawn = kinds.map(() => -Infinity);
    for (let index = begin; index < end; index++) {
      const mark = rows[index], x = this.x(at[mark]);
      if (x - drawn[kind[mark]] < 1.5) continue;
      drawn[kind[mark]] = x;
      c.fillStyle = this.kindColours[kind[mark]];
      c.strokeStyle = this.colour.back;
      MARKS[kinds[kind[mark]]](c, x, middle);
      if (mark === this.marked.chosenRow) {
        c.strokeStyle = this.colour.chosen; c.lineWidth = 2;
        c.strokeRect(x - 7, middle - 7, 14, 14);
        c.lineWidth = 1;
      }
    }
  }

  #hits(row, y) {
    const found = this.marked.rowHits?.get(row.subject);
    if (!found) return;
    const at = this.tale.at;
    const high = found.length > HITS_WHOLE ? 4 : row.height;  // A crowd of them would cover all.
    let drawn = -Infinity;
    this.context.fillStyle = this.colour.hit;
    for (let index = lowerBound((one) => at[found[one]], this.view.from, 0, found.length); index < found.length; index++) {
      const x = this.x(at[found[index]]);
      if (x > this.width) break;
      if (x - drawn < 1) continue;
      drawn = x;
      this.context.fillRect(x - 1, y + row.height - high, 2, high);
    }
  }

  // What is under the pointer: a mark if one is near, else the life there.
  under(x, y, top) {
    if (x < LABELS || y < AXIS) return {};
    const row = this.rows.at(y - AXIS + top);
    if (!row) return {};
    if (row.subject >= 0) {
      const mark = this.#nearestMark(row.subject, x);
      if (mark >= 0) return { row, mark };
    }
    return row.head ? { row } : { row, life: this.#lifeAt(row.subject, x) };
  }

  #nearestMark(subject, x) {
    const at = this.tale.at, rows = this.tale.marks[subject];
    let best = -1, distance = MARK + 2;
    for (let index = lowerBound((one) => at[rows[one]], this.time(x - distance), 0, rows.length);
      index < rows.length && this.x(at[rows[index]]) <= x + distance; index++) {
      const away = Math.abs(this.x(at[rows[index]]) - x);
      if (away <= distance) { best = rows[index]; distance = away; }
    }
    return best;
  }

  #lifeAt(subject, x) {
    const [first, last] = this.tale.laneLives[subject], { from, to } = this.tale;
    const life = lowerBound((index) => from[index], this.time(x + 2), first, last) - 1;
    const slack = this.tale.life.spawned[life] ? 2 : 9;  // The mark of one that never ran is beside it.
    return life >= first && this.x(to[life]) >= x - slack ? life : -1;
  }
}

// The strip above: how many lives ended in each column, by outcome; and what the chart shows of it.
class Overview {
  constructor(canvas, painter) {
    Object.assign(this, { canvas, painter, context: canvas.getContext("2d") });
  }

  resize(width, height) {
    Painter.prototype.resize.call(this, width, height);
    const { tale } = this.painter;
    const columns = Math.max(1, Math.floor(width / 3));
    this.counts = Array.from({ length: columns }, () => new Uint32Array(tale.outcomes.length));
    for (let life = 0; life < tale.lives; life++) {
      const column = Math.min(columns - 1, Math.floor(tale.to[life] / (tale.end || 1) * columns));
      this.counts[column][tale.life.outcome[life]]++;
    }
    this.most = Math.max(1, ...this.counts.map((counts) => counts.reduce((a, b) => a + b)));
  }

  paint(chosen) {
    const c = this.context, { colour, outcomeColours, view, tale } = this.painter;
    c.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    c.fillStyle = colour.back;
    c.fillRect(0, 0, this.width, this.height);
    this.counts.forEach((counts, column) => {
      let y = this.height;
      counts.forEach((count, outcome) => {
        if (!count) return;
        const high = Math.sqrt(count / this.most) * (this.height - 4);
        c.fillStyle = outcomeColours[outcome];
        c.fillRect(column * 3, y - high, 2.4, high);
        y -= high;
      });
    });
    const [from, to] = chosen ?? [view.from, view.to];
    const left = this.x(from, tale), right = this.x(to, tale);
    c.fillStyle = colour.back;
    c.globalAlpha = 0.65;
    c.fillRect(0, 0, left, this.height);
    c.fillRect(right, 0, this.width - right, this.height);
    c.globalAlpha = 1;
    c.strokeStyle = colour.chosen;
    c.strokeRect(left + 0.5, 0.5, Math.max(2, right - left - 1), this.height - 1);
  }

  x(at) { return at / (this.painter.tale.end || 1) * this.width; }
  time(x) { return x / this.width * (this.painter.tale.end || 1); }
}
