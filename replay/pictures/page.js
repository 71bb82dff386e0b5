"use strict";
// The page: what is looked at, what is chosen, and what mouse, wheel, fingers and keys do.

const SPAN_MIN = 20, ZOOM = 1.5;
const element = (id) => document.getElementById(id);

class Page {
  constructor(tale) {
    this.tale = tale;
    this.view = { from: 0, to: Math.max(SPAN_MIN, tale.end) };
    this.rows = new Rows(tale);
    this.painter = new Painter(element("chart"), tale, this.rows, this.view);
    this.overview = new Overview(element("overview"), this.painter);
    this.marked = { hits: null, hitLives: null, rowHits: null, chosenLife: -1, chosenRow: -1, dimmed: new Set() };
    this.match = -1;
    element("title").textContent = document.title = tale.title;
    this.#legend();
    new ResizeObserver(() => this.resize()).observe(element("scroller"));
    this.resize();
    if (tale.viewFrom) this.show(tale.at[tale.viewFrom], tale.end); else this.fit();
  }

  // --- looking ------------------------------------------------------------------------------

  resize() {
    const scroller = element("scroller");
    this.painter.resize(scroller.clientWidth, scroller.clientHeight);
    this.overview.resize(element("overview").clientWidth, 46);
    this.later();
  }

  later() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.paint(); });
  }

  paint() {
    element("spacer").style.height = `${this.rows.height + AXIS + 8}px`;
    this.painter.paint(element("scroller").scrollTop, this.marked);
    this.overview.paint(this.choosing);
    const { from, to } = this.view, text = (at) => new Date((this.tale.begin + at) / 1000).toISOString().slice(11, 23);
    element("range").textContent = `${text(from)} – ${text(to)} UTC, ${spanText(to - from)}`;
  }

  show(from, to) {
    const span = Math.min(Math.max(to - from, SPAN_MIN), this.#whole());
    const margin = this.#whole() * 0.02;
    const middle = (from + to) / 2;
    this.view.from = Math.max(-margin, Math.min(middle - span / 2, this.tale.end + margin - span));
    this.view.to = this.view.from + span;
    element("tip").hidden = true;  // What it tells of has moved.
    this.later();
  }

  #whole() { return Math.max(SPAN_MIN, this.tale.end * 1.04); }

  fit() { this.show(-this.tale.end * 0.02, this.tale.end * 1.02); }

  zoom(factor, at = (this.view.from + this.view.to) / 2) {
    const span = Math.min(Math.max((this.view.to - this.view.from) / factor, SPAN_MIN), this.#whole());
    const share = (at - this.view.from) / (this.view.to - this.view.from);
    this.show(at - share * span, at + (1 - share) * span);
  }

  move(share) {
    const by = (this.view.to - this.view.from) * share;
    this.show(this.view.from + by, this.view.to + by);
  }

  scroll(by) {
    element("scroller").scrollTop += by;
    this.later();
  }

  // --- choosing -----------------------------------------------------------------------------

  choose(life, row) {
    Object.assign(this.marked, { chosenLife: life, chosenRow: row });
    const details = element("details");
    details.hidden = life < 0 && row < 0;
    const close = make("button", "×");
    close.className = "close";
    close.title = "Close (Esc)";
    close.addEventListener("click", () => { this.choose(-1, -1); element("chart").focus(); });
    details.replaceChildren(close);
    if (life >= 0) this.#tellLife(details, life);
    else if (row >= 0) this.#tellRow(details, row);
    this.later();
  }

  #tellLife(details, life) {
    const { tale } = this, moments = tale.life;
    const [outcome, meaning] = tale.outcomes[moments.outcome[life]];
    details.append(make("h2", `${tale.subjectName(moments.lane[life])}, pid ${tale.pidOf(life) || "none"}`));
    const facts = [["outcome", `${outcome}: ${meaning}`]];
    const names = { wanted: "asked for", spawned: "began", filled: "ready", stopping: "asked to end", ended: "ended" };
    for (const [moment, name] of Object.entries(names)) {
      const row = moments[moment][life] - 1;
      if (row < 0) continue;
      const text = moment === "stopping" || moment === "ended" ? ` — ${tale.texts[tale.text[row]]}` : "";
      facts.push([name, `${clockText(tale.begin + tale.at[row], 1)}${text}`]);
    }
    if (moments.spawned[life]) facts.push(["ran for", spanText(tale.to[life] - tale.at[moments.spawned[life] - 1])]);
    details.append(makeFacts(facts));
    this.#tellChain(details, "Why it began", (moments.wanted[life] || moments.spawned[life]) - 1);
    const stopping = moments.stopping[life] - 1;
    if (stopping >= 0) this.#tellChain(details, "Why it was asked to end", stopping);
    if (moments.ended[life]) this.#tellChain(details, "How it ended", moments.ended[life] - 1);
  }

  #tellRow(details, row) {
    const { tale } = this;
    details.append(make("h2", tale.names[tale.name[row]]));
    details.append(makeFacts([["of", tale.subjectName(tale.subject[row])], ["record", `#${tale.seq[row]}`],
      ["at", clockText(tale.begin + tale.at[row], 1)], ["says", tale.texts[tale.text[row]] || "nothing more"]]));
    this.#tellChain(details, "Because of", row);
  }

  // A record and what led to it, nearest first; each is a button that goes there.
  #tellChain(details, title, row) {
    if (row < 0) return;
    const list = make("ol");
    for (const link of [{ row }, ...this.tale.chain(row)]) {
      const item = make("li");
      if (link.row < 0) item.append(make("span", `#${link.seq} is not on this page`));
      else {
        const button = make("button", this.tale.sentence(link.row));
        button.addEventListener("click", () => this.goTo(link.row));
        item.append(button);
      }
      list.append(item);
    }
    const last = [row, ...this.tale.chain(row).map((link) => link.row)].at(-1);
    if (last >= 0 && !this.tale.cause[last]) list.append(make("li", "from outside: nothing on record led to that"));
    details.append(make("h3", title), list);
  }

  goTo(row) {
    const { tale } = this, life = tale.lifeOfRow(row), at = tale.at[row];
    if (!this.rows.of(tale.subject[row])) {
      const group = tale.groups.find((one) => one.lanes.some((lane) => lane.subject === tale.subject[row]));
      if (group) this.rows.fold(group);
    }
    if (at < this.view.from || at > this.view.to) {
      const half = (this.view.to - this.view.from) / 2;
      this.show(at - half, at + half);
    }
    this.#reveal(life >= 0 ? tale.life.lane[life] : tale.subject[row]);
    this.choose(tale.kind[row] ? -1 : life, tale.kind[row] || life < 0 ? row : -1);
  }

  #reveal(subject) {
    const row = this.rows.of(subject), scroller = element("scroller");
    if (!row) return;
    element("spacer").style.height = `${this.rows.height + AXIS + 8}px`;
    const room = scroller.clientHeight - AXIS;
    if (row.y < scroller.scrollTop) scroller.scrollTop = row.y;
    else if (row.y + row.height > scroller.scrollTop + room) scroller.scrollTop = row.y + row.height - room;
  }

  neighbour(by) {
    const { chosenLife, chosenRow } = this.marked;
    const life = chosenLife >= 0 ? chosenLife + by : Math.max(0, chosenRow < 0 ? 0 : this.tale.lifeOfRow(chosenRow));
    const lane = chosenLife >= 0 ? this.tale.life.lane[chosenLife] : this.tale.life.lane[life];
    if (this.tale.life.lane[life] !== lane) return;
    const moments = this.tale.life;
    const row = (moments.wanted[life] || moments.spawned[life] || moments.ended[life]) - 1;
    if (row < 0) return;
    this.goTo(row);
    this.choose(life, -1);
  }

  zoomToChosen() {
    const { chosenLife, chosenRow } = this.marked, { tale } = this;
    if (chosenLife >= 0) {
      const margin = Math.max(SPAN_MIN, (tale.to[chosenLife] - tale.from[chosenLife]) * 0.15);
      this.show(tale.from[chosenLife] - margin, tale.to[chosenLife] + margin);
    } else if (chosenRow >= 0) this.zoom(8, tale.at[chosenRow]);
  }

  // --- searching ----------------------------------------------------------------------------

  search(query) {
    const { tale, marked } = this, hits = tale.search(query), wanted = query.trim() !== "";
    marked.hits = wanted ? hits : null;
    marked.hitLives = wanted ? new Uint8Array(tale.lives) : null;
    marked.rowHits = wanted ? new Map() : null;
    for (const row of hits) {
      const life = tale.lifeOfRow(row), subject = tale.subject[row];
      if (life >= 0) marked.hitLives[life] = 1;
      if (!marked.rowHits.has(subject)) marked.rowHits.set(subject, []);
      marked.rowHits.get(subject).push(row);
    }
    this.match = -1;
    this.#tellFound();
    this.later();
  }

  step(by) {
    const hits = this.marked.hits;
    if (!hits?.length) return;
    this.match = this.match < 0 && by < 0 ? hits.length - 1 : (this.match + by + hits.length) % hits.length;
    this.goTo(hits[this.match]);
    this.#tellFound();
  }

  #tellFound() {
    const hits = this.marked.hits, count = hits?.length.toLocaleString("en") ?? "";
    element("found").textContent = !hits ? "" : this.match < 0 ? `${count} found` : `${this.match + 1} of ${count}`;
  }

  // --- colours ------------------------------------------------------------------------------

  #legend() {
    const { tale } = this, counts = tale.before.map((before) => before[tale.lives]);
    tale.outcomes.forEach(([name, meaning], outcome) => {
      if (!counts[outcome]) return;
      const button = make("button");
      button.append(make("canvas"), make("span", `${name} ${counts[outcome].toLocaleString("en")}`));
      button.title = meaning;
      button.dataset.outcome = name;
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => {
        const dim = !this.marked.dimmed.delete(outcome);
        if (dim) this.marked.dimmed.add(outcome);
        button.setAttribute("aria-pressed", String(dim));
        this.later();
      });
      element("legend").append(button);
    });
    this.#paintLegend();
  }

  #paintLegend() {
    const { painter, tale } = this, ratio = window.devicePixelRatio || 1;
    for (const button of element("legend").children) {
      const canvas = button.querySelector("canvas"), c = canvas.getContext("2d");
      const outcome = tale.outcomes.findIndex(([name]) => name === button.dataset.outcome);
      canvas.width = 22 * ratio; canvas.height = 14 * ratio;
      c.scale(ratio, ratio);
      c.fillStyle = painter.outcomeColours[outcome];
      const hollow = button.dataset.outcome === "unborn";
      if (!hollow) c.fillRect(0, 1, 22, 12);
      c.fillStyle = c.strokeStyle = hollow ? painter.outcomeColours[outcome] : painter.colour.ink;
      c.lineWidth = 1.8;
      GLYPHS[button.dataset.outcome](c, 11, 7, 3.4);
    }
  }

  paintTheme(theme) {
    document.documentElement.dataset.theme = theme;
    this.painter.readColours();
    this.#paintLegend();
    this.later();
  }
}

function make(tag, text = "") {
  const made = document.createElement(tag);
  made.textContent = text;  // Never as markup: names and texts come from the record.
  return made;
}

function makeFacts(facts) {
  const list = make("dl");
  for (const [name, value] of facts) list.append(make("dt", name), make("dd", value));
  return list;
}

// --- mouse, wheel, fingers ----------------------------------------------------------------------

function listenToChart(page) {
  const chart = element("chart"), scroller = element("scroller"), { painter } = page;
  let drag = null;
  const place = (event) => {
    const box = chart.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  chart.addEventListener("wheel", (event) => {
    const [x] = place(event);
    if (x < LABELS && !event.ctrlKey) return;  // Over the names the wheel scrolls.
    event.preventDefault();
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      page.move((event.deltaX || event.deltaY) / 1000);
    } else page.zoom(2 ** (-event.deltaY / 300), painter.time(x));
  }, { passive: false });
  chart.addEventListener("pointerdown", (event) => {
    const [x, y] = place(event);
    if (event.button || x < LABELS) return;
    drag = { x, y, time: painter.time(x), from: page.view.from, top: scroller.scrollTop, part: event.shiftKey, moved: false };
    chart.setPointerCapture(event.pointerId);
  });
  chart.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    if (!drag) { hover(page, event, x, y); return; }
    drag.moved ||= Math.abs(x - drag.x) + Math.abs(y - drag.y) > 4;
    if (!drag.moved) return;
    element("tip").hidden = true;
    if (drag.part) page.choosing = [Math.min(drag.time, painter.time(x)), Math.max(drag.time, painter.time(x))];
    else {
      chart.classList.add("dragging");
      const span = page.view.to - page.view.from;
      const from = drag.from - (x - drag.x) / (painter.width - LABELS) * span;
      page.show(from, from + span);
      scroller.scrollTop = drag.top - (y - drag.y);
    }
    page.later();
  });
  chart.addEventListener("pointerup", (event) => {
    const [x, y] = place(event), was = drag;
    drag = null;
    chart.classList.remove("dragging");
    if (was?.part && page.choosing) page.show(...page.choosing);
    page.choosing = null;
    if (was && !was.moved) {
      const { mark = -1, life = -1 } = painter.under(x, y, scroller.scrollTop);
      page.choose(mark >= 0 ? -1 : life, mark);
    }
  });
  chart.addEventListener("click", (event) => {
    const [x, y] = place(event);
    const row = x < LABELS && y > AXIS && page.rows.at(y - AXIS + scroller.scrollTop);
    if (row && row.head) { page.rows.fold(row.group); page.later(); }
  });
  chart.addEventListener("dblclick", () => page.zoomToChosen());
  chart.addEventListener("pointerleave", () => { element("tip").hidden = true; });
  scroller.addEventListener("scroll", () => page.later());
}

function hover(page, event, x, y) {
  const { tale, painter } = page, tip = element("tip");
  const { mark = -1, life = -1 } = painter.under(x, y, element("scroller").scrollTop);
  tip.hidden = mark < 0 && life < 0;
  if (tip.hidden) return;
  const lines = [];
  if (mark < 0) {
    const moments = tale.life, ended = moments.ended[life] - 1, born = moments.spawned[life] - 1;
    const ran = born >= 0 ? `, ${spanText(tale.to[life] - tale.at[born])}` : "";
    const how = ended >= 0 ? `: ${tale.texts[tale.text[ended]]}` : "";
    lines.push(`${tale.subjectName(moments.lane[life])} · pid ${tale.pidOf(life) || "none"}${ran}`);
    lines.push(`${tale.outcomes[moments.outcome[life]][0]}${how}`);
  }
  const first = mark >= 0 ? mark : (tale.life.wanted[life] || tale.life.spawned[life]) - 1;
  if (first >= 0) {
    lines.push(tale.sentence(first));
    for (const link of tale.chain(first).slice(0, 4)) {
      lines.push(`← ${link.row < 0 ? `#${link.seq}` : tale.sentence(link.row)}`);
    }
  }
  tip.textContent = lines.join("\n");
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + 16, innerHeight - tip.offsetHeight - 8))}px`;
}

function listenToOverview(page) {
  const strip = element("overview");
  let start = null;
  const time = (event) => page.overview.time(event.clientX - strip.getBoundingClientRect().left);
  strip.addEventListener("pointerdown", (event) => { start = time(event); strip.setPointerCapture(event.pointerId); });
  strip.addEventListener("pointermove", (event) => {
    if (start === null) return;
    page.choosing = [Math.min(start, time(event)), Math.max(start, time(event))];
    page.later();
  });
  strip.addEventListener("pointerup", (event) => {
    if (start === null) return;
    const [from, to] = [Math.min(start, time(event)), Math.max(start, time(event))], half = (page.view.to - page.view.from) / 2;
    if (to - from < page.tale.end / 400) page.show(from - half, from + half); else page.show(from, to);
    start = page.choosing = null;
  });
}

// --- keys ---------------------------------------------------------------------------------------

function listenToKeys(page) {
  const focusSearch = () => { element("query").focus(); element("query").select(); };
  const theme = () => page.paintTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  const help = () => element("help").showModal();
  const keys = {
    ArrowLeft: () => page.move(-0.15), ArrowRight: () => page.move(0.15),
    ArrowUp: () => page.scroll(-LANE * 2), ArrowDown: () => page.scroll(LANE * 2),
    PageUp: () => page.scroll(-300), PageDown: () => page.scroll(300),
    "+": () => page.zoom(ZOOM), "=": () => page.zoom(ZOOM), "-": () => page.zoom(1 / ZOOM),
    0: () => page.fit(), Home: () => page.fit(), "/": focusSearch, n: () => page.step(1), N: () => page.step(-1),
    "[": () => page.neighbour(-1), "]": () => page.neighbour(1), Enter: () => page.zoomToChosen(),
    d: theme, "?": help, Escape: () => page.choose(-1, -1),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || element("help").open) return;
    const typing = event.target === element("query");
    if (typing && event.key === "Escape") { element("chart").focus(); return; }
    const onButton = event.target instanceof HTMLButtonElement && event.key === "Enter";
    if (typing || onButton || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });
  const buttons = { out: keys["-"], in: keys["+"], fit: keys[0], theme, keys: help, previous: keys.N };
  for (const [id, act] of Object.entries(buttons)) element(id).addEventListener("click", act);
  element("query").addEventListener("input", () => page.search(element("query").value));
  element("search").addEventListener("submit", (event) => { event.preventDefault(); page.step(1); });
}

async function begin() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  document.documentElement.dataset.theme = dark.matches ? "dark" : "light";
  const tables = JSON.parse(element("tables").textContent);
  const tale = await Tale.unpacked(tables, element("columns").textContent);
  const page = new Page(tale);
  globalThis.page = page;  // For a question in the console; and for tests.
  dark.addEventListener("change", () => page.paintTheme(dark.matches ? "dark" : "light"));
  listenToChart(page);
  listenToOverview(page);
  listenToKeys(page);
  element("status").textContent =
    `${tale.records.toLocaleString("en")} records, ${tale.lives.toLocaleString("en")} lives`;
}

begin().catch((error) => { element("status").textContent = `cannot draw: ${error.message}`; });
