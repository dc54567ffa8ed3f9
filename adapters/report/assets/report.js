"use strict";
// Draws the page's charts in the colours of its style sheet, and again when the reader changes between light and dark.
(() => {
  const data = document.getElementById("charts");
  if (!data || !window.Plotly) return;

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 600px)");

  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const paint = (value, key) => {
      if (Array.isArray(value)) return value.map((item) => paint(item));
      if (value && typeof value === "object") {
        return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, paint(item, name)]));
      }
      return /color$/.test(key) && String(value).startsWith("--") ? colour(value) : value;
    };
    const axis = (given) => ({
      gridcolor: colour("--line"), zerolinecolor: colour("--soft"), zeroline: false, linecolor: colour("--line"),
      tickcolor: colour("--line"), automargin: true, ...given,
    });
    for (const [name, figure] of Object.entries(JSON.parse(data.textContent))) {
      const place = document.getElementById(name);
      if (!place.data) place.replaceChildren();
      const axes = Object.fromEntries(
        Object.entries({ xaxis: {}, yaxis: {}, ...figure.layout })
          .filter(([key]) => /^[xy]axis/.test(key))
          .map(([key, given]) => [key, axis(given)]),
      );
      const layout = {
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: narrow.matches ? false : "zoom",
        font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("--soft") },
        hoverlabel: { bgcolor: colour("--panel"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
        margin: { l: 8, r: 8, t: 8, b: 8 }, hovermode: "x", bargap: 0.3,
        legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal" },
        ...paint(figure.layout), ...axes,
      };
      Plotly.react(place, paint(figure.data), layout, { displayModeBar: false, responsive: true });
    }
  };

  draw();
  dark.addEventListener("change", draw);
})();
