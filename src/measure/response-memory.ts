import type { Probe } from "../analysis/probe.ts";
import { siteOps } from "../analysis/sites.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Node, Value } from "../graph/node.ts";
import type { Model } from "../onnx/model.ts";
import { affordableUnits, runLimits } from "./unit-sample.ts";

/** Bytes of Gram matrices that are summed at the same time: with more, the responses are computed again for the next layers. */
export const mostSums = 128 * 2 ** 20;

/** Samples of a report's response angles. */
const samples = 256;

/**
 * About how many bytes the response angles of a run's report take beside its sessions: the sums of Gram matrices in float64, and
 * as much for the matrices of two passes in float32. Layers are told by their operators, before shapes are inferred.
 */
export function responseMemory(model: Model): number {
  const works = graphOf(model).nodes.flatMap((node) => {
    const units = unitsOf(node);
    return units ? [{ units, groups: node.int("group", 1), length: samples }] : [];
  });
  const most = affordableUnits(works, { float64: true } as Probe, { share: runLimits.share });
  const sums = works.map(
    ({ units, groups }) => (Math.min(units, most) ** 2 / groups) * Float64Array.BYTES_PER_ELEMENT,
  );
  const total = sums.reduce((sum, bytes) => sum + bytes, 0);
  return 2 * Math.max(Math.min(mostSums, total), ...sums);
}

/** Units of a layer; undefined for any other node. */
function unitsOf(node: Node): number | undefined {
  if (node.domain !== "" || !siteOps.has(node.opType)) return undefined;
  const [left, right] = [matrixAt(node.inputs[0]), matrixAt(node.inputs[1])];
  if (node.opType === "Conv") return right?.at(0);
  if (node.opType === "ConvTranspose") return right && (right[1] ?? 0) * node.int("group", 1);
  if (right) return node.flag("transB") ? right.at(-2) : right.at(-1);
  return node.flag("transA") ? left?.at(-1) : left?.at(-2);
}

/** Dimensions of the stored weight behind an operand. */
function matrixAt(operand: Value | null | undefined): readonly number[] | undefined {
  if (operand?.initializer) return operand.initializer.dims;
  const { opType, inputs } = operand?.producer ?? {};
  const [stored] = inputs ?? [];
  if (opType === "Transpose") return matrixAt(stored)?.slice().reverse();
  return opType && ["Cast", "Identity", "DequantizeLinear"].includes(opType) ? matrixAt(stored) : undefined;
}
