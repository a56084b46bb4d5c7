"use strict";
// Lets the plots of the page answer to a pointer and to keys: values under it, and zoom by dragging.
// The drawn plots stay for printing. Plots over time share the pointer and the zoom.
(() => {
  const plots = JSON.parse(document.getElementById("abench-plots").textContent);
  const figures = document.querySelectorAll(".abench figure");
  const HEIGHT = [220, 300]; // pixels
  const DASHES = { "-": [], "--": [8, 5], ":": [2, 4] };
  const USUAL = [0, 50, 90, 99, 99.9, 99.99, 99.999, 99.9999];
  const MORE = [60, 70, 80, 95, 97, 98, 99.5, 99.7, 99.8, 99.95, 99.97, 99.98]; // when zoomed in
  const shown = []; // of those that are drawn now: chart, plot, element and button

  // The same texts as abench/stats/units.py has.
  const digits = (value) => value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
  const grouped = (value) => value.toLocaleString("en-US", { maximumFractionDigits: 0 });
  function microseconds(us) {
    if (us === null || us === undefined) return "-";
    if (us < 999.5) return `${us.toFixed(0)} us`;
    return us < 999500 ? `${digits(us / 1e3)} ms` : `${digits(us / 1e6)} s`;
  }
  function rate(value) {
    if (value === null || value === undefined) return "-";
    return value >= 99.995 ? grouped(value) : value.toFixed(2);
  }
  // With as many digits as tell it from 100: of a thousand responses, one is 0.1 %.
  const percent = (rarity) =>
    `${+(100 * (1 - 1 / rarity)).toFixed(Math.ceil(Math.log10(Math.max(1, rarity))))} %`;
  const seconds = (at) => `${+at.toFixed(2)} s`;
  Object.assign(window, { abenchTexts: { microseconds, rate }, abenchCharts: shown }); // for tests

  const color = (element, name) => getComputedStyle(element).getPropertyValue(name).trim();

  function axes(plot, element) {
    const common = {
      stroke: () => color(element, "--quiet"),
      grid: { stroke: () => color(element, "--lines"), width: 1 },
      ticks: { stroke: () => color(element, "--lines"), width: 1 },
      font: "13px system-ui, sans-serif",
    };
    const x = { ...common, size: 32, space: 60, values: (_, splits) => splits.map(seconds) };
    if (!plot.over_time) {
      x.splits = (chart) => percentiles(chart.scales.x);
      x.values = (_, splits) => splits.map((at) => (at === null ? "" : percent(at)));
      x.filter = (chart, splits) => apart(chart, splits, 48);
    }
    const text = plot.unit === "us" ? microseconds : (value) => value.toLocaleString("en-US");
    const y = { ...common, size: 72 };
    y.values = (_, splits) => splits.map((value) => (value ? text(value) : value === 0 ? "0" : ""));
    if (isLog(plot)) {
      y.splits = (chart) => roundValues(chart.scales.y.min, chart.scales.y.max);
      y.filter = (_, splits) => splits;
    }
    return [x, y];
  }

  // Returns 1, 2 and 5 times powers of ten; of a wide range the powers alone.
  function roundValues(min, max) {
    const digits = max / min > 1000 ? [1] : max / min > 3 ? [1, 2, 5] : [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8];
    const found = [];
    for (let power = 10 ** Math.floor(Math.log10(min)); power <= max; power *= 10) {
      found.push(...digits.map((one) => one * power).filter((one) => one >= min && one <= max));
    }
    return found;
  }

  // Returns where percentiles are on the axis: those that everyone knows, if it has three of them.
  function percentiles({ min, max }) {
    const within = (percents) => percents.map((one) => 1 / (1 - one / 100))
      .filter((at) => at >= min * 0.999 && at <= max * 1.001).sort((one, other) => one - other);
    const usual = within(USUAL);
    return usual.length > 2 ? usual : within([...USUAL, ...MORE]);
  }

  // Leaves out labels that would touch the one before.
  function apart(chart, splits, pixels) {
    let last = -Infinity;
    return splits.map((at) => {
      const x = chart.valToPos(at, "x");
      if (x - last < pixels) return null;
      last = x;
      return at;
    });
  }

  function series(plot, element) {
    const text = plot.unit === "us" ? microseconds : rate;
    const x = { label: plot.over_time ? "at" : "percentile",
      value: (_, at) => (at === null ? "-" : plot.over_time ? seconds(at) : percent(at)) };
    return [x, ...plot.curves.map((curve) => ({
      label: curve.label,
      stroke: () => color(element, curve.color),
      width: curve.is_broad ? 4 : 2,
      alpha: curve.is_broad ? 0.5 : 1,
      dash: DASHES[curve.dash],
      value: (_, value) => text(value),
      points: { show: plot.over_time && !curve.is_broad && plot.x.length <= 120, size: 5 },
    }))];
  }

  const isLog = (plot) => plot.over_time && plot.unit === "us";

  // From just below the fastest to just above the slowest: whole decades would flatten the curves.
  const around = (_, low, high) =>
    low === null ? [1, 10] : [Math.max(0.5, low / 1.15), Math.max(1, high * 1.15)];
  const fromZero = (_, low, high) => [0, high > 0 ? high * 1.1 : 1];

  function size(element) {
    const width = Math.max(200, element.clientWidth);
    return { width, height: Math.min(HEIGHT[1], Math.max(HEIGHT[0], width / 2)) };
  }

  const overTime = () => shown.filter(({ plot }) => plot.over_time);

  function zoom(chart, min, max) {
    chart.setScale("x", { min, max });
  }

  // Shows the same part of the run in all plots over time, and a way back.
  function onScale(entry) {
    const { chart, plot, button } = entry;
    const { min, max } = chart.scales.x;
    button.hidden = min === plot.x[0] && max === plot.x[plot.x.length - 1];
    if (!plot.over_time) return;
    for (const { chart: other } of overTime()) {
      if (other.scales.x.min !== min || other.scales.x.max !== max) zoom(other, min, max);
    }
  }

  function showAll({ chart, plot }) {
    zoom(chart, plot.x[0], plot.x[plot.x.length - 1]);
  }

  // Moves through the values by arrows, as a pointer does, and undoes the zoom by Escape.
  function onKey(entry, event) {
    const { chart, plot } = entry;
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (event.key === "Escape") showAll(entry);
    if (!(event.key in steps)) return;
    event.preventDefault();
    const [first, last] = chart.series[0].idxs;
    const from = chart.cursor.idx ?? (event.key === "ArrowLeft" ? last + 1 : first - 1);
    const at = Math.min(last, Math.max(first, from + steps[event.key]));
    for (const { chart: each } of plot.over_time ? overTime() : [entry]) {
      each.setCursor({ left: each.valToPos(plot.x[at], "x"), top: each.over.clientHeight / 2 });
    }
  }

  function draw(figure, plot) {
    const element = document.createElement("div");
    element.className = "chart";
    element.tabIndex = 0;
    element.setAttribute("role", "group");
    element.setAttribute("aria-label", `${figure.querySelector("h2").textContent}: ` +
      "arrows show values, Escape shows all");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Show all";
    button.hidden = true;
    element.append(button);
    figure.querySelector(".drawn").after(element);
    figure.classList.add("interactive");
    const entry = { chart: null, plot, element, button };
    const isZeroBased = plot.unit === "rate" || !plot.over_time;
    entry.chart = new uPlot({
      ...size(element),
      scales: {
        x: { time: false, distr: plot.over_time ? 1 : 3, range: (_, low, high) => [low, high] },
        y: { distr: isLog(plot) ? 3 : 1, range: isZeroBased ? fromZero : around },
      },
      axes: axes(plot, element),
      series: series(plot, element),
      cursor: { y: false, drag: { x: true, y: false },
        sync: plot.over_time ? { key: "abench", setSeries: false } : undefined },
      hooks: { setScale: [(chart, key) => key === "x" && entry.chart && onScale(entry)] },
    }, [plot.x, ...plot.curves.map((curve) => curve.values)], element);
    button.addEventListener("click", () => showAll(entry));
    element.addEventListener("keydown", (event) => onKey(entry, event));
    element.querySelector(".u-legend").setAttribute("aria-live", "polite");
    shown.push(entry);
  }

  function explain() {
    const hint = document.createElement("p");
    hint.className = "quiet hint";
    hint.textContent = "Point at a plot to read its values. Drag to zoom in; a double click shows all.";
    document.querySelector(".abench .plots").before(hint);
  }

  function drawAll() {
    for (const { chart, element } of shown.splice(0)) {
      chart.destroy();
      element.remove();
    }
    plots.forEach((plot, number) => plot && draw(figures[number], plot));
  }

  drawAll();
  if (shown.length) explain();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  const resized = () => shown.forEach(({ chart, element }) => chart.setSize(size(element)));
  addEventListener("resize", resized);
})();
