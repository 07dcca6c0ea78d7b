"use strict";
(() => {
  const root = document.documentElement;
  const isCoarse = matchMedia("(pointer: coarse)").matches;
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: isCoarse ? false : "hover",
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]], // none that sends
    showSendToCloud: false,
    plotlyServerURL: "",
  };
  const drawn = new Map();
  root.classList.add("scripted");

  // Colours stand in figures as var(--name): Plotly needs them looked up.
  const resolve = (value, style) => {
    if (typeof value === "string") {
      return value.startsWith("var(") ? style.getPropertyValue(value.slice(4, -1)).trim() : value;
    }
    if (Array.isArray(value)) {
      return value.every((one) => typeof one === "number") ? value : value.map((one) => resolve(one, style));
    }
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, resolve(one, style)]));
    }
    return value;
  };

  let fading = 0;
  const notify = (text) => {
    const notice = document.getElementById("notice");
    notice.textContent = text;
    clearTimeout(fading);
    fading = setTimeout(() => { notice.textContent = ""; }, 2500);
  };

  const copyByHand = (text) => {
    const field = document.createElement("textarea");
    field.value = text;
    field.style.position = "fixed";
    field.style.opacity = "0";
    document.body.append(field);
    field.select();
    const isDone = document.execCommand("copy");
    field.remove();
    return isDone;
  };

  const copy = async (text) => {
    let isDone = false;
    try {
      await navigator.clipboard.writeText(text);
      isDone = true;
    } catch {
      isDone = copyByHand(text);
    }
    notify(isDone ? `copied ${text}` : `could not copy ${text}`);
  };

  const figureNow = (state) => {
    const style = getComputedStyle(root);
    const other = state.figure.others ? state.figure.others[state.other] : null;
    const isNarrow = state.plot.clientWidth < 520;
    const data = resolve(state.figure.data, style).map((trace, index) => ({ ...trace, ...(other ? { x: other.x[index] } : {}) }));
    const layout = { ...resolve(state.figure.layout, style), ...(other ? resolve(other.layout, style) : {}) };
    layout.dragmode = isCoarse ? false : "zoom";
    if (isNarrow) {
      data.filter((trace) => trace.marker && trace.marker.showscale).forEach((trace) => {
        const title = { ...trace.marker.colorbar.title, side: "top" };
        const lying = { orientation: "h", title, len: 1, x: 0, xanchor: "left", y: -0.2, yanchor: "top", thickness: 8 };
        trace.marker = { ...trace.marker, colorbar: { ...trace.marker.colorbar, ...lying } };
      });
    }
    return { data, layout };
  };

  const redraw = (state) => {
    const { data, layout } = figureNow(state);
    return Plotly.react(state.plot, data, layout, config);
  };

  // Beside a point an architecture stands in several short lines; below the chart there is room for one.
  const unwrapped = (lines, name) => {
    let count = 0;
    let found = "";
    while (found !== name && count < lines.length && name.startsWith(found + lines[count])) found += lines[count++];
    return name && found === name ? `${name}\n${lines.slice(count).join(", ")}` : lines.join("\n");
  };

  const tell = (state, curve, point) => {
    const trace = state.figure.data[curve];
    const text = (trace.hovertext || [])[point] || "";
    const plain = new DOMParser().parseFromString(text.replaceAll("<br>", "\n"), "text/html").body.textContent;
    state.told.textContent = unwrapped(plain.split("\n"), trace.customdata[point] || "");
  };

  // Points in the order in which arrow keys visit them: those of the first trace that tells something.
  const walk = (state, step) => {
    const curve = state.figure.data.findIndex((trace) => trace.hovertext.length);
    if (curve < 0) return;
    const count = state.figure.data[curve].x.length;
    state.at = Math.min(count - 1, Math.max(0, state.at + step));
    Plotly.Fx.hover(state.plot, [{ curveNumber: curve, pointNumber: state.at }]);
    tell(state, curve, state.at);
  };

  const pressed = (state, event) => {
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 20, PageDown: -20, Home: -1e9, End: 1e9 };
    if (event.key in steps) {
      event.preventDefault();
      walk(state, steps[event.key]);
    } else if (event.key === "Enter" && state.at >= 0) {
      const trace = state.figure.data.find((one) => one.hovertext.length);
      if (trace.customdata[state.at]) copy(trace.customdata[state.at]);
    }
  };

  const addChoice = (state) => {
    const label = document.createElement("label");
    const select = document.createElement("select");
    state.figure.others.forEach((other, index) => select.add(new Option(other.title, String(index))));
    select.addEventListener("change", () => {
      state.other = Number(select.value);
      redraw(state);
    });
    label.append("accuracy against", select);
    state.plot.before(label);
  };

  const draw = async (element) => {
    const plot = element.querySelector(".plot");
    const figure = JSON.parse(element.querySelector("script").textContent);
    const state = { figure, plot, told: element.querySelector(".told"), other: 0, at: -1 };
    element.classList.add("drawn");
    plot.replaceChildren();
    const { data, layout } = figureNow(state);
    await Plotly.newPlot(plot, data, layout, config);
    drawn.set(element, state);
    plot.tabIndex = 0;
    plot.setAttribute("role", "group");
    plot.setAttribute("aria-label", element.querySelector("figcaption").textContent);
    plot.addEventListener("keydown", (event) => pressed(state, event));
    plot.on("plotly_hover", ({ points }) => {
      state.at = points[0].pointNumber;
      tell(state, points[0].curveNumber, state.at);
    });
    plot.on("plotly_click", ({ points }) => {
      tell(state, points[0].curveNumber, points[0].pointNumber);
      if (points[0].customdata) copy(points[0].customdata);
    });
    if (figure.others && figure.others.length > 1) addChoice(state);
  };

  const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const button = document.getElementById("theme");
  const showTheme = () => {
    button.textContent = isDark() ? "light" : "dark";
    button.setAttribute("aria-label", `change to ${button.textContent} colours`);
    drawn.forEach(redraw);
  };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    showTheme();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
  showTheme();

  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target.closest(".copy") : null;
    if (target) copy(target.previousElementSibling.textContent);
  });

  // A chart is drawn when it comes near the window, so that a page with many of them opens at once.
  const watcher = new IntersectionObserver((entries) => {
    entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      watcher.unobserve(entry.target);
      draw(entry.target);
    });
  }, { rootMargin: "400px" });
  document.querySelectorAll(".chart").forEach((element) => watcher.observe(element));
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
})();
