// What Grafana's Prometheus data source does: variables, queries, and answers as data frames.
import { FieldType, createDataFrame, rangeUtil, renderLegendFormat } from '@grafana/data';

const SCRAPED_EVERY = '15s'; // as in prometheus.yml, and the data source's own default

export class Asker {
  constructor(base, range) {
    this.base = base;
    this.range = range; // {from, to, raw}, moments
    this.values = {};
  }

  /** The first value of each variable, or the one that the address names; All stands for what `allValue` says. */
  async choose(variables, chosen) {
    for (const one of variables.filter((one) => one.type === 'query')) {
      const [, expression, label] = this.fill(one.query.query).match(/^label_values\((.*), *(\w+)\)$/);
      const found = await this.get(`label/${label}/values`, { 'match[]': expression, ...this.seconds() });
      this.values[one.name] = chosen[one.name] ?? (one.includeAll ? one.allValue : found.sort()[0]);
    }
  }

  fill = (text) => text?.replace(/\$\{?(\w+)\}?/g, (whole, name) => this.values[name] ?? whole);

  /** Frames of all targets of a panel that is `width` pixels wide. */
  async frames(panel, width) {
    const { intervalMs } = rangeUtil.calculateInterval(this.range, Math.round(width), SCRAPED_EVERY);
    const asked = (panel.targets ?? []).map((target) => this.target(target, intervalMs, panel.targets.length > 1));
    return (await Promise.all(asked)).flat();
  }

  async target(target, stepMs, several) {
    const query = this.fill(target.expr);
    if (target.instant) {
      const { result } = await this.get('query', { query, time: this.seconds().end });
      return [table(target, result, several)];
    }
    const aligned = (s) => Math.floor((s * 1000) / stepMs) * (stepMs / 1000);
    const { start, end } = this.seconds();
    const { result } = await this.get('query_range', {
      query, start: aligned(start), end: aligned(end), step: stepMs / 1000,
    });
    return result.map((series) => curve(target, series, stepMs));
  }

  seconds = () => ({ start: this.range.from.valueOf() / 1000, end: this.range.to.valueOf() / 1000 });

  async get(path, words) {
    const answer = await fetch(`${this.base}/api/v1/${path}?${new URLSearchParams(words)}`);
    const { status, data, error } = await answer.json();
    if (status !== 'success') {
      throw new Error(error);
    }
    return data;
  }
}

function curve(target, series, stepMs) {
  const labels = Object.fromEntries(Object.entries(series.metric).filter(([name]) => name !== '__name__'));
  const said = Object.entries(labels).map(([name, value]) => `${name}="${value}"`).join(', ');
  const displayNameFromDS = target.legendFormat ? renderLegendFormat(target.legendFormat, labels) : `{${said}}`;
  return createDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, config: { interval: stepMs }, values: series.values.map(([s]) => s * 1000) },
      {
        name: 'Value', type: FieldType.number, labels, config: { displayNameFromDS },
        values: series.values.map(([, value]) => Number(value)),
      },
    ],
  });
}

function table(target, result, several) {
  const names = [...new Set(result.flatMap(({ metric }) => Object.keys(metric)))].sort();
  const column = (name) => ({ name, type: FieldType.string, values: result.map(({ metric }) => metric[name] ?? '') });
  return createDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: result.map(({ value: [s] }) => s * 1000) },
      ...names.map(column),
      {
        name: several ? `Value #${target.refId}` : 'Value', type: FieldType.number,
        values: result.map(({ value: [, value] }) => Number(value)),
      },
    ],
  });
}
