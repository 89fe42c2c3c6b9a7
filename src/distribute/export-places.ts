import { Model } from "../onnx/model.ts";
import { onnx } from "../onnx/schema.js";
import { Tensor } from "../onnx/tensor.ts";
import { equalBytes, fieldRecords, graphFields, tensorFields } from "../onnx/wire.ts";
import type { Trainer } from "../runtime/trainer.ts";

/** A place in a model's file. */
export interface BytePlace {
  readonly offset: number;
  readonly length: number;
}

/** Where the raw data of initializers lie in a model's file, by name. */
export function rawDataPlaces(bytes: Uint8Array): Map<string, BytePlace> {
  const places = new Map<string, BytePlace>();
  for (const record of Model.fromBytes(bytes).layout.graph) {
    if (record.field !== graphFields.initializer) continue;
    const { name } = onnx.TensorProto.decode(bytes.subarray(record.payload, record.end));
    const raw = fieldRecords(bytes, record.payload, record.end).filter(
      ({ field }) => field === tensorFields.rawData,
    );
    const [only] = raw;
    if (name && only && raw.length === 1)
      places.set(name, { offset: only.payload, length: only.end - only.payload });
  }
  return places;
}

/** A run's trained model as a file in which the trained tensors can be replaced. */
export interface ExportTemplate {
  readonly model: Model;
  /** Undefined where other bytes than those of the tensors change too, as those of weights that adapters are folded into. */
  readonly weights: readonly ({ readonly input: string } & BytePlace)[] | undefined;
}

/**
 * The trained model of a run that has just begun, and where its trained tensors lie in it. Other numbers are written there once and
 * compared with the export of a run that has them, so that the places are known to be all.
 */
export async function exportTemplate(trainer: Trainer): Promise<ExportTemplate> {
  const before = trainer.state();
  const model = trainer.export();
  const { parameters, statistics, average } = trainer.step.ports;
  const ports = [...parameters, ...statistics];
  if (model.externalLocations.size > 0) return { model, weights: undefined };
  const places = rawDataPlaces(model.bytes);
  const weights = ports.flatMap(({ name, input }) => {
    const place = places.get(name);
    return place ? [{ input, ...place }] : [];
  });
  if (weights.length < ports.length) return { model, weights: undefined };
  const changed = (tensors: ReadonlyMap<string, Tensor>) =>
    new Map([...tensors].map(([name, tensor]) => [name, turned(tensor)]));
  trainer.takeOver({
    parameters: changed(before.parameters),
    statistics: changed(before.statistics),
    ...(average && {
      slots: new Map(
        [...before.parameters].map(([name, tensor]) => [
          name,
          new Map([[average, turned(tensor).named(average)]]),
        ]),
      ),
    }),
  });
  const other = trainer.export().bytes;
  const after = trainer.state();
  const { updates: _, ...whole } = before;
  trainer.takeOver(whole);
  const own = model.bytes.slice();
  const numbers = new Map([...after.parameters, ...after.statistics]);
  for (const [i, { offset, length }] of weights.entries()) {
    const bytes = numbers.get(ports[i]?.name ?? "")?.bytes;
    if (bytes?.length !== length) return { model, weights: undefined };
    own.set(bytes, offset);
  }
  return { model, weights: equalBytes(own, other) ? weights : undefined };
}

/** Other numbers of the same type and shape. */
function turned(tensor: Tensor): Tensor {
  const data = tensor.data.slice() as Float32Array;
  for (let i = 0; i < data.length; i++) data[i] = 1 + (i % 7) - (data[i] as number) / 2;
  return Tensor.of(tensor.name, tensor.type, tensor.dims, data);
}
