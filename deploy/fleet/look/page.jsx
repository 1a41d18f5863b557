// deploy/fleet/dashboard.json, drawn by Grafana's own components (@grafana/ui, @grafana/data) from a real Prometheus.
// The address says which, as Grafana's does: ?prometheus=URL&minutes=5&var-station=kitchen
import { ThemeContext, cacheFieldDisplayNames, createTheme, dateTime, getFieldDisplayValues } from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import { BigValue, GlobalStyles, PanelChrome, TimeSeries } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { createRoot } from 'react-dom/client';
import 'uplot/dist/uPlot.min.css';
import { Asker } from './ask.js';
import { dressed, register } from './config.js';
import { Timeline } from './timeline.jsx';

const [COLUMNS, CELL, GAP, MARGIN] = [24, 30, 8, 16]; // Grafana's grid, pixels
const theme = createTheme({ colors: { mode: 'dark' } });
const timeZone = 'browser';

function Stat({ panel, data, width, height, fill }) {
  const { options } = panel;
  const values = getFieldDisplayValues({
    data: data.frames, fieldConfig: data.fieldConfig, reduceOptions: options.reduceOptions, replaceVariables: fill,
    theme, timeZone, sparkline: options.graphMode !== 'none',
  });
  return values.map(({ display, sparkline }, at) => (
    <BigValue key={at} value={display} sparkline={sparkline} width={width / values.length} height={height} theme={theme}
      colorMode={options.colorMode} graphMode={options.graphMode} justifyMode="auto"
      textMode={values.length > 1 ? 'auto' : 'value'} />
  ));
}

function Curves({ panel, data, range, width, height }) {
  const legend = { showLegend: true, calcs: [], ...panel.options.legend };
  return <TimeSeries frames={data.frames} timeRange={range} legend={legend} {...{ timeZone, width, height }} />;
}

function Lines({ panel, data, range, width, height }) {
  cacheFieldDisplayNames(data.frames);
  return <TableNG data={data.frames[0]} width={width} height={height} sortBy={panel.options.sortBy} timeRange={range}
    fieldConfig={data.fieldConfig} noHeader={!panel.options.showHeader} cellHeight={panel.options.cellHeight ?? 'sm'}
    enableVirtualization={false} />;
}

function States({ panel, data, ...rest }) {
  return <Timeline frames={data.frames} options={panel.options} timeZone={timeZone} {...rest} />;
}

const KINDS = { stat: Stat, timeseries: Curves, table: Lines, 'state-timeline': States };

function Panel({ panel, data, error, range, fill, unit }) {
  const { x, y, w, h } = panel.gridPos;
  const size = { width: Math.floor(w * unit - GAP), height: h * (CELL + GAP) - GAP };
  const place = { position: 'absolute', left: MARGIN + x * unit, top: y * (CELL + GAP), ...size };
  if (panel.type === 'row') {
    return <div style={{ ...place, ...theme.typography.h6, padding: '4px 0' }}>⌄ {fill(panel.title)}</div>;
  }
  const Kind = KINDS[panel.type];
  const empty = !(data && filled(data)) && panel.type !== 'stat';
  const said = error ?? panel.fieldConfig.defaults.noValue ?? 'No data';
  const nothing = <div style={{ display: 'grid', placeItems: 'center', height: '100%', opacity: 0.7 }}>{said}</div>;
  return (
    <div style={place}>
      <PanelChrome {...size} title={fill(panel.title)} padding={panel.type === 'table' ? 'none' : 'md'}>
        {(width, height) => (empty ? nothing : <Kind {...{ panel, data, range, fill, width, height }} />)}
      </PanelChrome>
    </div>
  );
}

async function answered(panel, asker, unit) {
  if (panel.type === 'row') {
    return { panel };
  }
  try {
    const frames = await asker.frames(panel, panel.gridPos.w * unit - 2 * GAP);
    const data = await dressed(panel, frames, { replaceVariables: asker.fill, theme, timeZone });
    return { panel, data };
  } catch (error) {
    return { panel, error: String(error) };
  }
}

async function main() {
  const words = new URLSearchParams(location.search);
  await initPluginTranslations('grafana');
  register();
  const to = dateTime();
  const from = dateTime(to.valueOf() - 60_000 * Number(words.get('minutes')));
  const range = { from, to, raw: { from, to } };
  const asker = new Asker(words.get('prometheus'), range);
  const dashboard = await (await fetch('dashboard.json')).json();
  const chosen = [...words].filter(([name]) => name.startsWith('var-')).map(([name, value]) => [name.slice(4), value]);
  await asker.choose(dashboard.templating.list, Object.fromEntries(chosen));
  const unit = (innerWidth - 2 * MARGIN + GAP) / COLUMNS;
  await document.fonts.load('14px Inter');
  const panels = await Promise.all(dashboard.panels.map((panel) => answered(panel, asker, unit)));
  const rows = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  createRoot(document.getElementById('page')).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div style={{ position: 'relative', height: rows * (CELL + GAP) + MARGIN }}>
        {panels.map((one) => <Panel key={one.panel.id} {...one} {...{ range, unit }} fill={asker.fill} />)}
      </div>
    </ThemeContext.Provider>,
  );
  await quiet();
  window.drawn = panels.map(({ panel, data, error }) => ({ title: panel.title, full: data && filled(data), error }));
}

const filled = ({ frames }) => frames.some((frame) => frame.length > 0);

/** Once nothing was added to the page for half a second: canvases and the table's columns come after the first frame. */
function quiet() {
  return new Promise((resolve) => {
    const done = () => { observer.disconnect(); resolve(); };
    let timer = setTimeout(done, 500);
    const observer = new MutationObserver(() => { clearTimeout(timer); timer = setTimeout(done, 500); });
    observer.observe(document.body, { childList: true, subtree: true, attributes: true });
  });
}

main().catch((error) => { window.failed = String(error.stack); });
