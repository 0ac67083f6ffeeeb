"use strict";
(() => {
  const data = JSON.parse(document.getElementById("figure").textContent);
  const sections = [...document.querySelectorAll(".panel")];
  const logButton = document.getElementById("log");
  const resetButton = document.getElementById("reset");
  const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif';
  const DASHES = [[], [10, 4], [5, 3], [2, 3]];
  const FLAT = 1e-12;
  const windows = data.groups.map(() => null);
  let log = data.log;
  let charts = [];
  let following = false;

  // Numbers

  const trimmed = text => text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  const scientific = (value, digits) => {
    const [mantissa, power] = value.toExponential(digits).split("e");
    return trimmed(mantissa) + "e" + Number(power);
  };
  const valueText = value => {
    const size = Math.abs(value);
    if (value === 0) return "0";
    return size < 1e-2 || size >= 1e9 ? scientific(value, 5) : String(Number(value.toPrecision(7)));
  };
  const countText = count => {
    for (const [size, suffix] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
      const short = trimmed((count / size).toFixed(2));
      if (Math.abs(count) >= size && count % (size / 100) === 0 && short.replace(/[-.]/g, "").length <= 3) return short + suffix;
    }
    return Math.abs(count) < 10000 ? String(count) : String(count).replace(/\B(?=(\d{3})+$)/g, "_");
  };
  const tickTexts = (ticks, isLog) => {
    if (isLog) return ticks.map(t => Math.min(...ticks) < 1e-2 ? (t === 1 ? "1" : scientific(t, 3)) : valueText(t));
    if (ticks.length < 2) return ticks.map(valueText);
    const step = Math.min(...ticks.slice(1).map((t, i) => t - ticks[i]));
    const power = Math.floor(Math.log10(step) + 1e-9);
    const largest = Math.max(...ticks.map(Math.abs));
    const digits = t => Math.max(Number(t.toExponential().split("e")[1]) - power, 0);
    const alike = ticks.map(t => largest >= 1e-2 && largest < 1e6 ? t.toFixed(Math.min(Math.max(-power, 0), 20))
      : t === 0 ? "0" : scientific(t, Math.min(digits(t), 15)));
    return alike.every((text, i) => Math.abs(Number(text) - ticks[i]) <= 1e-9 * Math.abs(ticks[i])) ? alike : ticks.map(valueText);
  };

  // Axes

  const multiples = (step, low, high) => {
    const ticks = [];
    const last = Math.floor(high / step + 1e-9);
    for (let k = Math.ceil(low / step - 1e-9); k <= last && ticks.length < 60; k++) ticks.push(Number((k * step).toPrecision(15)));
    return ticks;
  };
  const roundTicks = (low, high, most, whole) => {
    const power = Math.floor(Math.log10((high - low) / Math.max(most, 2))) - 1;
    for (let p = power; p < power + 4; p++) for (const m of [1, 2, 5]) {
      if (whole && p < 0) continue;
      const ticks = multiples(Number(m + "e" + p), low, high);
      if (ticks.length >= 2 && ticks.length <= Math.max(most, 2)) return ticks;
    }
    return whole ? [Math.ceil(low)] : [low, high];
  };
  const logTicks = (low, high, most) => {
    const first = Math.floor(Math.log10(low)), last = Math.floor(Math.log10(high) + 1e-9);
    let usable = null;
    for (const [mantissas, every] of [[[1, 2, 5], 1], [[1, 3], 1], ...[1, 2, 3, 5, 10, 20, 50, 100].map(n => [[1], n])]) {
      const ticks = [];
      for (let p = last; p >= first; p -= every) for (const m of mantissas) ticks.push(Number(m + "e" + p));
      const inside = ticks.filter(t => t >= low * (1 - 1e-9) && t <= high * (1 + 1e-9)).sort((a, b) => a - b);
      if (inside.length > 1) usable = inside;
      if (usable && usable.length <= Math.max(most, 2)) break;
    }
    return usable || roundTicks(low, high, most);
  };
  const ends = (low, high, isLog) => {
    if (low == null || high == null) return isLog ? [1, 10] : [0, 1];
    if (isLog) {
      if (high - low <= FLAT * high) return [low / 2, high * 2];
      const room = Math.pow(high / low, .06);
      return [low / room, high * room];
    }
    if (high - low <= FLAT * Math.max(Math.abs(low), Math.abs(high))) {
      const room = Math.abs(high) / 2 || 1;
      return [low - room, high + room];
    }
    if (low > 0 && low < high / 4) low = 0;
    if (high < 0 && high > low / 4) high = 0;
    const room = (high - low) * .06;
    return [low - room, high + room];
  };
  const valueTicks = (panel, low, high, isLog) => {
    const place = v => isLog ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low);
    const levels = panel.levels.filter(v => v >= low && v <= high && (v > 0 || !isLog));
    const apart = levels.every((v, i) => i === 0 || place(v) - place(levels[i - 1]) >= 1 / 9);
    if (levels.length && apart) return levels;
    return isLog ? logTicks(low, high, 6) : roundTicks(low, high, 6);
  };

  // Values at a count

  const before = (grid, count) => {
    let low = 0, high = grid.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (grid[middle] <= count) low = middle + 1; else high = middle;
    }
    return low - 1;
  };
  // Between two samples of a line the value is read off the drawn chord, and said to be about that.
  const valueAt = (line, count) => {
    const grid = data.grids[line.grid], i = before(grid, count);
    if (i < 0 || count > grid[grid.length - 1]) return "–";
    const left = line.values[i], right = line.values[i + 1];
    if (left === null) return "–";
    if (line.steps || grid[i] === count) return valueText(left);
    if (right == null) return "–";
    return "≈ " + valueText(left + (right - left) * (count - grid[i]) / (grid[i + 1] - grid[i]));
  };
  const read = (panel, section, count) => {
    const group = data.groups[panel.group];
    const at = count === null ? group.last : count;
    section.querySelector(".at").textContent = (count === null ? "at the end, " : "at ") + countText(at);
    section.querySelectorAll("output").forEach((cell, i) => { cell.textContent = valueAt(panel.lines[i], at); });
  };

  // Charts

  const aligned = (panel, isLog) => {
    const shown = line => isLog ? line.values.map(v => v > 0 ? v : null) : line.values;
    const same = panel.lines.every(line => line.grid === panel.lines[0].grid);
    if (same) return [data.grids[panel.lines[0].grid], ...panel.lines.map(shown)];
    return uPlot.join(panel.lines.map(line => [data.grids[line.grid], shown(line)]));
  };
  const alone = (u, i) => {
    const found = [], values = u.data[i].map((v, k) => [v, k]).filter(([v]) => v !== undefined);
    values.forEach(([v, k], n) => {
      if (v !== null && values[n - 1]?.[0] == null && values[n + 1]?.[0] == null) found.push(k);
    });
    return found.length ? found : null;
  };
  const drawMarks = panel => u => {
    const { ctx, bbox } = u, ratio = devicePixelRatio || 1, taken = [0, 0];
    ctx.save();
    ctx.font = ratio * 11.5 + "px " + FONT.slice(5);
    ctx.strokeStyle = ctx.fillStyle = color("--faint");
    ctx.lineWidth = ratio;
    ctx.textBaseline = "bottom";
    ctx.textAlign = "left";
    for (const [count, text] of panel.marks) {
      const x = u.valToPos(count, "x", true);
      if (x < bbox.left - 1 || x > bbox.left + bbox.width + 1) continue;
      ctx.setLineDash([2 * ratio, 4 * ratio]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const wide = ctx.measureText(text).width;
      const start = Math.max(Math.min(x, bbox.left + bbox.width - wide), 0);
      const row = taken.findIndex(end => start > end);
      if (row < 0) continue;
      taken[row] = start + wide + 10 * ratio;
      ctx.fillText(text, start, bbox.top - (3 + 14 * row) * ratio);
    }
    ctx.restore();
  };
  const options = (panel, section, width) => {
    const isLog = log && panel.lines.some(line => line.values.some(v => v > 0));
    const last = data.panels.findLastIndex(other => other.group === panel.group) === data.panels.indexOf(panel);
    const axis = { stroke: () => color("--faint"), font: FONT, ticks: { size: 5, stroke: () => color("--rule") },
      grid: { stroke: () => color("--grid"), width: 1, filter: (u, s) => s }, filter: (u, s) => s };
    axis.ticks.filter = axis.filter;
    return {
      width, height: (panel.still ? 76 : Math.min(160 + 36 * Math.max(panel.lines.length, 1), 420)) + (last ? 20 : 0) + (panel.marks.length ? 26 : 0),
      padding: [panel.marks.length ? 34 : 8, 14, 0, 0],
      legend: { show: false },
      cursor: {
        y: false, drag: { x: true, y: false, dist: 4 },
        points: { size: 7, width: 0, fill: (u, i) => color("--line-" + panel.lines[i - 1].color) },
        dataIdx: (u, i, nearest, x) => i && panel.lines[i - 1].steps ? Math.max(before(u.data[0], x), 0) : nearest,
        bind: { dblclick: () => () => { zoom(panel.group, null); return null; } },
      },
      scales: {
        x: { time: false, range: (u, low, high) => low === high ? [low - 1, high + 1] : [low, high] },
        y: { distr: isLog ? 3 : 1, log: 10, range: (u, low, high) => ends(low, high, isLog) },
      },
      series: [{}, ...panel.lines.map((line, i) => ({
        stroke: () => color("--line-" + line.color), width: 2, pxAlign: 0, dash: DASHES[i % DASHES.length],
        paths: line.steps ? uPlot.paths.stepped({ align: 1 }) : uPlot.paths.linear(),
        points: { show: false, filter: alone, size: 6, width: 0, fill: () => color("--line-" + line.color) },
      }))],
      axes: [
        { ...axis, size: 32, gap: 4, label: last ? data.groups[panel.group].unit : undefined, labelSize: 20, labelGap: 0,
          labelFont: FONT, splits: (u, i, low, high) => roundTicks(low, high, Math.max(Math.floor(u.width / 110), 2), true),
          values: (u, ticks) => ticks.map(countText) },
        { ...axis, size: 60, gap: 4, values: (u, ticks) => tickTexts(ticks, isLog),
          splits: (u, i, low, high) => panel.still ? [panel.constant].filter(v => v !== null) : valueTicks(panel, low, high, isLog) },
      ],
      hooks: {
        setCursor: [u => { if (!following) follow(u, panel); }],
        setScale: [(u, key) => { if (key === "x" && u.status) zoom(panel.group, [u.scales.x.min, u.scales.x.max]); }],
        draw: [drawMarks(panel)],
      },
    };
  };

  const others = (group, u) => charts.filter((other, i) => other && other !== u && data.panels[i].group === group);
  const follow = (u, panel) => {
    const { left } = u.cursor;
    const inside = left >= 0 && u.cursor.idx != null;
    const held = panel.lines.every(line => line.steps);
    const count = !inside ? null : held ? Math.round(u.posToVal(left, "x")) : u.data[0][u.posToIdx(left)];
    tell(panel.group, count, u);
  };
  const tell = (group, count, source) => {
    following = true;
    for (const other of others(group, source)) {
      const left = count === null ? -10 : other.valToPos(count, "x");
      other.setCursor({ left, top: count === null ? -10 : other.over.clientHeight / 2 });
    }
    following = false;
    data.panels.forEach((panel, i) => { if (panel.group === group) read(panel, sections[i], count); });
  };
  const whole = group => [data.groups[group].first, data.groups[group].last];
  const zoom = (group, wanted) => {
    const [first, last] = whole(group);
    const [low, high] = wanted || [first, last];
    windows[group] = low <= first && high >= last ? null : [low, high];
    resetButton.disabled = windows.every(window => window === null);
    for (const u of others(group, null)) {
      const { min, max } = u.scales.x;
      if (first < last && (min !== low || max !== high)) u.setScale("x", { min: low, max: high });
    }
  };

  const build = () => {
    charts.forEach(u => u && u.destroy());
    charts = [];
    logButton.setAttribute("aria-pressed", String(log));
    data.panels.forEach((panel, i) => {
      const target = sections[i].querySelector(".plot");
      const remark = sections[i].querySelector(".axis-remark");
      remark.textContent = log ? panel.log_remark : "";
      remark.hidden = !remark.textContent;
      const u = new uPlot(options(panel, sections[i], target.clientWidth), aligned(panel, log && panel.log_axis), target);
      charts.push(u);
      const [low, high] = windows[panel.group] || whole(panel.group);
      u.setScale("x", low < high ? { min: low, max: high } : { min: low - 1, max: high + 1 });
      read(panel, sections[i], null);
    });
  };
  const keys = (panel, i) => event => {
    const u = charts[i], xs = u.data[0], step = event.shiftKey ? Math.max(Math.round(xs.length / 50), 1) : 1;
    const at = u.cursor.idx ?? 0;
    const to = { ArrowLeft: at - step, ArrowRight: at + step, Home: 0, End: xs.length - 1 }[event.key];
    if (event.key === "Escape") zoom(panel.group, null);
    else if (to === undefined) return;
    else {
      const left = u.valToPos(xs[Math.min(Math.max(to, 0), xs.length - 1)], "x");
      u.setCursor({ left: Math.min(Math.max(left, 0), u.over.clientWidth), top: u.over.clientHeight / 2 });
    }
    event.preventDefault();
  };

  build();
  data.panels.forEach((panel, i) => sections[i].querySelector(".plot").addEventListener("keydown", keys(panel, i)));
  logButton.addEventListener("click", () => { log = !log; build(); });
  resetButton.addEventListener("click", () => data.groups.forEach((_, group) => zoom(group, null)));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(u => u.redraw(false, true)));
  new ResizeObserver(() => charts.forEach((u, i) => {
    const width = sections[i].querySelector(".plot").clientWidth;
    if (width !== u.width) u.setSize({ width, height: u.height });
  })).observe(document.querySelector("main"));
})();
