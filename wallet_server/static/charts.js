/* Draws each element with data-chart: lines over time, one scale on the left and one on the right.
   All texts come from the server in the reader's language; this file only draws. */

(function () {
  "use strict";

  const charts = new Map();
  const quiet = window.matchMedia("(prefers-reduced-motion: reduce)");
  const sizes = new ResizeObserver((entries) => {
    for (const entry of entries) {
      const chart = charts.get(entry.target);
      if (chart) {
        chart.resize();
        chart.setOption(forWidth(entry.contentRect.width));
      }
    }
  });

  function property(element, name, fallback) {
    return getComputedStyle(element).getPropertyValue(name).trim() || fallback;
  }

  /* A phone has no room for the names of two axes, nor for twelve labels side by side. */
  function forWidth(width) {
    const narrow = width < 560;
    return {
      legend: { orient: narrow ? "vertical" : "horizontal" },
      grid: { left: narrow ? 40 : 48, right: narrow ? 28 : 48, top: narrow ? 68 : 48, bottom: narrow ? 64 : 32 },
      xAxis: { axisLabel: { rotate: narrow ? 45 : 0, hideOverlap: true } },
    };
  }

  /* Counts are whole, and no share is more than all: a scale up to 120 % would be nonsense. */
  function axis(series, ink, isFirst) {
    const isShare = series.axis === "percent";
    const top = Math.max(...series.values);
    const isHigh = isShare && top > 75;
    const isLow = !isShare && top < 4;
    return {
      type: "value",
      min: 0,
      max: isHigh ? 100 : isLow ? 4 : null,
      interval: isHigh ? 25 : null,
      minInterval: 1,
      axisLabel: { color: ink, formatter: isShare ? "{value}%" : "{value}" },
      splitLine: { show: isFirst },
      splitNumber: 4,
      alignTicks: true,
    };
  }

  /* The period that is not over is drawn open: its point is hollow and its name says so. */
  function points(series, data) {
    const last = series.values.length - 1;
    return series.values.map((value, index) =>
      data.running && index === last
        ? { value: value, symbol: "emptyCircle", symbolSize: 10 }
        : { value: value },
    );
  }

  function option(element, data) {
    const ink = property(element, "--chart-ink", "#182433");
    const inkQuiet = property(element, "--chart-ink-quiet", "#5c6570");
    const font = property(element, "--tblr-font-sans-serif", "sans-serif");
    const colors = [property(element, "--chart-first", "#0b4f6c"), property(element, "--chart-second", "#c2570c")];
    const last = data.labels.length - 1;
    const name = (index) => data.labels[index] + (data.running && index === last ? " · " + data.running_note : "");
    return {
      animation: !quiet.matches,
      color: colors,
      textStyle: { fontFamily: font, color: ink },
      aria: { enabled: true, label: { description: data.description } },
      legend: { top: 0, left: 0, itemGap: 20, textStyle: { color: ink } },
      // Drawn, not HTML: that writes style attributes, which our Content-Security-Policy forbids, and hangs over
      // the edge of a phone.
      tooltip: {
        trigger: "axis",
        renderMode: "richText",
        confine: true,
        formatter: (items) =>
          [name(items[0].dataIndex)]
            .concat(items.map((item) => item.seriesName + ": " + data.series[item.seriesIndex].texts[item.dataIndex]))
            .join("\n"),
      },
      xAxis: {
        type: "category",
        data: data.labels,
        axisLabel: { color: inkQuiet },
        axisTick: { show: false },
      },
      yAxis: data.series.map((series, index) => axis(series, inkQuiet, index === 0)),
      series: data.series.map((series, index) => ({
        type: "line",
        name: series.name,
        yAxisIndex: index,
        data: points(series, data),
        symbol: index === 0 ? "circle" : "rect",
        symbolSize: 7,
        lineStyle: { width: 2.5, type: index === 0 ? "solid" : "dashed" },
        connectNulls: false,
      })),
    };
  }

  function draw(element) {
    if (charts.has(element)) {
      return;
    }
    const chart = window.echarts.init(element);
    charts.set(element, chart);
    chart.setOption(option(element, JSON.parse(element.dataset.chart)));
    chart.setOption(forWidth(element.clientWidth));
    sizes.observe(element);
  }

  function drawAll() {
    for (const [element, chart] of charts) {
      if (!element.isConnected) {
        sizes.unobserve(element);
        chart.dispose();
        charts.delete(element);
      }
    }
    document.querySelectorAll("[data-chart]").forEach(draw);
  }

  drawAll();
  document.addEventListener("htmx:afterSettle", drawAll);
})();
