// Grafana's state timeline belongs to its application, so this one is drawn here, on Grafana's axes and in its colours.
import { getFieldDisplayName } from '@grafana/data';
import { UPlotChart, UPlotConfigBuilder, VizLayout, VizLegend, useTheme2 } from '@grafana/ui';

const FILLED = 0.7; // of a row

export function Timeline({ frames, options, range, timeZone, width, height }) {
  const theme = useTheme2();
  const rows = frames.map((frame) => row(frame, frames));
  const legend = options.legend?.showLegend === false ? null : (
    <VizLayout.Legend placement="bottom">
      <VizLegend placement="bottom" items={items(rows)} displayMode="list" />
    </VizLayout.Legend>
  );
  return (
    <VizLayout width={width} height={height} legend={legend}>
      {(w, h) => <UPlotChart width={w} height={h} data={[[range.from.valueOf(), range.to.valueOf()]]}
        config={builder(rows, options, theme, timeZone, range)} timeRange={range} />}
    </VizLayout>
  );
}

/** Boxes of one series: a value holds until the next sample, at most for a step. */
function row(frame, frames) {
  const [time, value] = frame.fields;
  const boxes = [];
  time.values.forEach((from, at) => {
    const to = Math.min(time.values[at + 1] ?? Infinity, from + time.config.interval);
    const { text, color } = value.display(value.values[at]);
    const last = boxes.at(-1);
    if (last && last.to === from && last.text === text) {
      last.to = to;
    } else {
      boxes.push({ from, to, text, color });
    }
  });
  return { name: getFieldDisplayName(value, frame, frames), boxes };
}

function items(rows) {
  const seen = new Map(rows.flatMap(({ boxes }) => boxes).map(({ text, color }) => [text, color]));
  return [...seen].map(([label, color]) => ({ label, color, yAxis: 1 }));
}

function builder(rows, options, theme, timeZone, range) {
  const made = new UPlotConfigBuilder(timeZone);
  const count = rows.length;
  const ends = () => [range.from.valueOf(), range.to.valueOf()];
  made.addScale({ scaleKey: 'x', isTime: true, orientation: 0, direction: 1, range: ends });
  made.addScale({ scaleKey: 'y', isTime: false, orientation: 1, direction: 1, range: () => [0, count] });
  made.addAxis({ scaleKey: 'x', isTime: true, placement: 'bottom', timeZone, theme, grid: { show: true } });
  made.addAxis({
    scaleKey: 'y', isTime: false, placement: 'left', theme, grid: { show: false }, ticks: { show: false },
    splits: rows.map((_, at) => count - at - 0.5), values: rows.map(({ name }) => name),
  });
  made.addHook('draw', (plot) => rows.forEach(({ boxes }, at) => {
    boxes.forEach((box) => draw(plot, box, count - at - 0.5, options));
  }));
  return made;
}

function draw(plot, { from, to, text, color }, middle, options) {
  const x = Math.max(plot.valToPos(from, 'x', true), plot.bbox.left);
  const end = Math.min(plot.valToPos(to, 'x', true), plot.bbox.left + plot.bbox.width);
  const top = plot.valToPos(middle + FILLED / 2, 'y', true);
  const bottom = plot.valToPos(middle - FILLED / 2, 'y', true);
  plot.ctx.fillStyle = color;
  plot.ctx.fillRect(x, top, end - x, bottom - top);
  if (options.showValue !== 'never' && plot.ctx.measureText(text).width < end - x - 8) {
    plot.ctx.fillStyle = '#111217';
    plot.ctx.textAlign = 'left';
    plot.ctx.textBaseline = 'middle';
    plot.ctx.fillText(text, x + 6, (top + bottom) / 2);
  }
}
