// What Grafana's application registers at its start and its panels bring along: field options, transformations.
import {
  FieldConfigOptionsRegistry, applyFieldOverrides, identityOverrideProcessor, standardFieldConfigEditorRegistry,
  standardTransformers, standardTransformersRegistry, transformDataFrame,
} from '@grafana/data';
import { lastValueFrom } from 'rxjs';

const STANDARD = [
  'unit', 'min', 'max', 'decimals', 'displayName', 'noValue', 'color', 'thresholds', 'mappings', 'description', 'links',
  'fieldMinMax', 'filterable',
];
const CUSTOM = {
  timeseries: {
    drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, gradientMode: 'none', pointSize: 5,
    showPoints: 'auto', spanNulls: false, lineStyle: { fill: 'solid' }, stacking: { mode: 'none', group: 'A' },
    axisPlacement: 'auto', axisLabel: undefined, axisSoftMin: undefined, axisSoftMax: undefined, axisColorMode: 'text',
    scaleDistribution: { type: 'linear' }, axisCenteredZero: false, thresholdsStyle: { mode: 'off' },
    hideFrom: { legend: false, tooltip: false, viz: false }, barAlignment: 0,
  },
  'state-timeline': { lineWidth: 0, fillOpacity: 70, hideFrom: { legend: false, tooltip: false, viz: false } },
  table: {
    width: undefined, minWidth: undefined, align: 'auto', cellOptions: { type: 'auto' }, inspect: false, hideFrom: undefined,
  },
  stat: {},
};
const COLOUR = { timeseries: 'palette-classic', 'state-timeline': 'thresholds', table: 'thresholds', stat: 'thresholds' };
const STEPS = [{ value: -Infinity, color: 'green' }, { value: 80, color: 'red' }];

export function register() {
  standardFieldConfigEditorRegistry.setInit(() => STANDARD.map((id) => option(id, false)));
  // The application adds editors to these; only what they do is needed here.
  standardTransformersRegistry.setInit(() =>
    [...new Set(Object.values(standardTransformers))].map((transformation) => ({
      id: transformation.id, name: transformation.name, transformation: async () => transformation,
    })));
}

const option = (id, isCustom) => ({
  id: isCustom ? `custom.${id}` : id, path: id, name: id, isCustom, process: identityOverrideProcessor,
  override: () => null, editor: () => null, shouldApply: () => true,
});

/** Frames after the panel's transformations, with its units, mappings, colours and overrides in each field's config. */
export async function dressed(panel, frames, context) {
  const custom = CUSTOM[panel.type];
  const registry = new FieldConfigOptionsRegistry(() => [
    ...STANDARD.map((id) => option(id, false)), ...Object.keys(custom).map((id) => option(id, true)),
  ]);
  for (const { id } of panel.fieldConfig.overrides.flatMap(({ properties }) => properties)) {
    registry.get(id); // throws for an option that there is not
  }
  const defaults = {
    color: { mode: COLOUR[panel.type] }, thresholds: { mode: 'absolute', steps: STEPS }, ...panel.fieldConfig.defaults,
    custom: { ...custom, ...panel.fieldConfig.defaults.custom },
  };
  const fieldConfig = { ...panel.fieldConfig, defaults };
  const transformed = panel.transformations
    ? await lastValueFrom(transformDataFrame(panel.transformations, frames)) : frames;
  const worn = applyFieldOverrides({ data: transformed, fieldConfig, fieldConfigRegistry: registry, ...context });
  return { fieldConfig, frames: worn };
}
