"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 40rem)");

  // Curves, in the colours of the theme.
  const charts = read("charts");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const axis = (own) => ({
    gridcolor: colour("--line"), linecolor: colour("--line"), zeroline: false, automargin: true, ...own,
    title: { standoff: 8, ...own.title },
  });
  const draw = (place) => {
    const chart = charts[place.id];
    if (!chart || !window.Plotly) return;
    const legend = chart.data.some((line) => line.showlegend);
    const layout = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest", dragmode: false,
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("--quiet") },
      margin: { l: 8, r: 8, t: 8, b: 8 },
      hoverlabel: { bgcolor: colour("--raised"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
      xaxis: axis(chart.layout.xaxis), yaxis: axis({ exponentformat: "e", ...chart.layout.yaxis }),
      shapes: (chart.layout.marks || []).map((x) => ({
        type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper", line: { color: colour("--warning"), width: 1.5, dash: "dot" },
      })),
      showlegend: legend, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 } },
    };
    const data = chart.data.map((line) => ({ ...line, textfont: { color: colour("--quiet"), size: 11 } }));
    Plotly.react(place, data, layout, { displayModeBar: false, responsive: true, doubleClick: false });
  };
  const drawAll = () => {
    document.querySelectorAll(".chart").forEach(draw);
    document.getElementById("js-plotly-tester")?.setAttribute("aria-hidden", "true"); // Plotly's own, without a name
  };

  // The plotting script is packed: unpacked it is five million characters.
  const unpack = async (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const whole = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(whole).text();
    document.head.append(script);
  };
  const packed = document.getElementById("plotly");
  if (packed) {
    unpack(packed.textContent).then(drawAll).catch((error) => {
      document.getElementById("old").hidden = false;
      throw error;
    });
  }
  dark.addEventListener("change", drawAll);
  narrow.addEventListener("change", drawAll);
  document.querySelectorAll("details").forEach((one) =>
    one.addEventListener("toggle", () => one.querySelectorAll(".chart").forEach(draw)));

  // Sheets over time.
  document.querySelectorAll(".sheets").forEach((box) => {
    const sheets = read(box.dataset.sheets);
    const [range, output, image] = ["input", "output", "img"].map((tag) => box.querySelector(tag));
    const last = image.src;
    const show = () => {
      const sheet = sheets[range.value];
      image.src = sheet.address || last;
      image.alt = sheet.alt;
      image.width = sheet.width;
      image.height = sheet.height;
      output.textContent = sheet.caption;
      range.setAttribute("aria-valuetext", sheet.caption);
    };
    range.addEventListener("input", show);
    range.show = show;
  });

  // While a run trains the page is written again and again: load it anew, in the same place.
  const seconds = Number(document.body.dataset.reload);
  const key = "orthogan:" + location.pathname;
  const ranges = [...document.querySelectorAll("input[type=range]")];
  const folds = [...document.querySelectorAll("details")];
  if (seconds) {
    setTimeout(() => {
      try {
        sessionStorage.setItem(key, JSON.stringify({
          top: scrollY, focus: document.activeElement.id,
          ranges: ranges.map((range) => (range.value === range.max ? null : range.value)),
          open: folds.map((fold) => fold.open),
        }));
      } catch { /* a browser without storage begins at the top */ }
      location.reload();
    }, seconds * 1000);
  }
  try {
    const kept = JSON.parse(sessionStorage.getItem(key) || "null");
    sessionStorage.removeItem(key);
    if (kept) {
      folds.forEach((fold, i) => { fold.open = Boolean(kept.open[i]); });
      ranges.forEach((range, i) => { if (kept.ranges[i] !== null && kept.ranges[i] !== undefined) { range.value = kept.ranges[i]; range.show(); } });
      if (kept.focus) document.getElementById(kept.focus)?.focus({ preventScroll: true });
      scrollTo(0, kept.top);
    }
  } catch { /* nothing kept */ }
})();
