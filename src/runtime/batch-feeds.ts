import type { Dataset } from "../data/dataset.ts";
import type { FeedPort } from "../data/feed-array.ts";
import { DataFeeds, type FedPorts, type FeedOptions, fedColumns } from "../data/feeds.ts";
import { chooseNormalization, type Normalization } from "../data/normalize.ts";
import { DataError } from "../errors.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Model } from "../onnx/model.ts";
import { batchAxisOfPort, type DataPort, type StepPorts } from "../programs/step-ports.ts";

/** The ports of a graph that receive data and labels. */
export type DataPorts = Pick<StepPorts, "inputs" | "labels" | "targets">;

/**
 * Prepares the inputs of a graph for a dataset, see {@link DataFeeds}.
 * @throws SorthError when samples do not fit the inputs, or an input has no array
 */
export function batchFeeds(ports: DataPorts, dataset: Dataset, options: FeedOptions = {}): DataFeeds {
  if (ports.inputs.length === 0) throw new DataError("the model has no input for data");
  return new DataFeeds(fedPorts(ports), dataset, options);
}

/** Inputs that receive data, and inputs that receive labels. */
export function fedPorts({ inputs, labels, targets = [] }: DataPorts): FedPorts {
  const port = (input: DataPort): FeedPort => ({ ...input, batchAxis: batchAxisOfPort(input) });
  return {
    data: inputs.filter(({ name }) => !targets.includes(name)).map(port),
    labels: [...inputs.filter(({ name }) => targets.includes(name)), ...(labels ? [labels] : [])].map(port),
  };
}

/**
 * How the pixels of a run's first data are scaled; undefined where there was nothing to decide.
 * @param onMessage - receives the reason
 */
export function normalizationFor(
  dataset: Dataset,
  { model, step }: { readonly model: Model; readonly step: { readonly ports: DataPorts } },
  onMessage?: (message: string) => void,
): Normalization | undefined {
  const fed = fedColumns(fedPorts(step.ports), dataset);
  const { normalize, remarks } = chooseNormalization(dataset.name, fed, () => graphOf(model));
  for (const remark of remarks) onMessage?.(remark);
  return normalize;
}
