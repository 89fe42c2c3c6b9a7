import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { Emit } from "../src/graph/emit.ts";
import { type Typed, typed } from "../src/graph/emit-base.ts";
import { Graph } from "../src/graph/graph.ts";
import { graphToProto } from "../src/graph/proto.ts";
import { Model } from "../src/onnx/model.ts";
import { onnx } from "../src/onnx/schema.js";
import { Tensor } from "../src/onnx/tensor.ts";
import { writeFileSafely } from "../src/onnx/write-file.ts";
import { Random } from "../src/random.ts";

/** Size of a base of {@link writeBase}. */
export interface BaseSize {
  readonly layers: number;
  readonly width: number;
}

/** The file of a base's numbers, beside its model. */
export const baseData = "base.data";

/**
 * Writes a stack of MatMuls with Relu between them: `base.onnx`, and `base.data` with the numbers, uniform so that
 * the layers neither raise nor lower the size of what passes through them (He et al. 2015).
 * @returns the path of the model
 */
export async function writeBase(folder: string, { layers, width }: BaseSize): Promise<string> {
  const graph = new Graph("base", new Map([["", 18]]));
  const g = new Emit(graph, { prefix: "layer/" });
  const none = new Float32Array();
  let x: Typed = typed(graph.addInput("x", "float", [1, width]));
  for (let layer = 0; layer < layers; layer++) {
    const weight = typed(graph.addInitializer(Tensor.of(`w${layer}`, "float", [width, width], none)));
    x = g.matMul(x, weight);
    if (layer < layers - 1) x = g.relu(x);
  }
  graph.rename(x, "y");
  graph.addOutput(x);
  const proto = graphToProto(graph, { irVersion: 8 });
  for (const value of [...(proto.graph?.input ?? []), ...(proto.graph?.output ?? [])]) {
    const dim = value.type?.tensorType?.shape?.dim?.[0];
    if (dim) Object.assign(dim, { dimValue: null, dimParam: "batch" });
  }
  const layerBytes = width * width * 4;
  for (const [place, tensor] of (proto.graph?.initializer ?? []).entries()) {
    const entries = { location: baseData, offset: place * layerBytes, length: layerBytes };
    tensor.rawData = new Uint8Array();
    tensor.dataLocation = onnx.TensorProto.DataLocation.EXTERNAL;
    tensor.externalData = Object.entries(entries).map(
      ([key, value]) => new onnx.StringStringEntryProto({ key, value: `${value}` }),
    );
  }
  await mkdir(folder, { recursive: true });
  const bound = Math.sqrt(6 / width);
  const random = new Random("base", 0);
  // Each layer begins at another place of the same numbers.
  const [size, shift] = [width * width, 4099];
  const numbers = Float32Array.from(
    { length: size + layers * shift },
    () => bound * (2 * random.uniform() - 1),
  );
  const handle = await open(join(folder, baseData), "w");
  for (let layer = 0; layer < layers; layer++) {
    await handle.write(new Uint8Array(numbers.buffer, 4 * layer * shift, 4 * size));
  }
  await handle.close();
  const path = join(folder, "base.onnx");
  await writeFileSafely(path, Model.fromProto(proto).chunks, { force: true });
  return path;
}
