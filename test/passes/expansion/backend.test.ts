import { describe, expect, test } from "vitest";
import { graphFromProto } from "../../../src/graph/proto.ts";
import { decodeModelProto } from "../../../src/onnx/codec.ts";
import { expandBodies, hasBodies } from "../../../src/passes/expansion/expand-bodies.ts";
import { liftParameters } from "../../../src/passes/expansion/expand-model.ts";
import { runPass } from "../../../src/passes/pass.ts";
import {
  backendDataMissing,
  backendInputs,
  backendModel,
  backendModels,
} from "../../helpers/backend-models.ts";
import { passContext } from "../../helpers/pass-context.ts";
import { runGraph } from "./models.ts";

/**
 * Models with functions, bodies or sequences, but for those whose inputs or outputs are no tensors, and
 * those of AffineGrid: they hand one-element vectors to Range, which ONNX Runtime refuses once it knows their numbers.
 */
const cases = (backendDataMissing ? [] : backendModels).filter((name) => {
  // The others come without data.
  if (!name.startsWith("node/")) return false;
  if (name.includes("affine_grid")) return false;
  const proto = decodeModelProto(backendModel(name));
  if (!proto.opsetImport?.length || proto.graph?.sparseInitializer?.length) return false;
  const ports = [...(proto.graph?.input ?? []), ...(proto.graph?.output ?? [])];
  const tensors = ports.every(({ type }) => type?.tensorType);
  return tensors && (proto.functions?.length || hasBodies(graphFromProto(proto)));
});

/** What may be left of them: operators with a reason of their own. */
const bodies = /^(If|Loop|Scan|Sequence|SplitToSequence|Optional)/;

const left: Readonly<Record<string, readonly string[]>> = {
  "node/test_scan_sum.onnx": ["Scan: its form before opset 9 has a batch axis"],
};

describe.skipIf(backendDataMissing)(`the ONNX backend models with bodies ${backendDataMissing || ""}`, () => {
  test("are found", () => {
    expect(cases.length).toBeGreaterThan(10);
  });

  test.each(cases)("%s gives the same numbers when expanded", async (name) => {
    const proto = decodeModelProto(backendModel(name));
    const feeds = Object.fromEntries(
      backendInputs(name, proto).flatMap((tensor) => (tensor ? [[tensor.name, tensor]] : [])),
    );
    const before = await runGraph(graphFromProto(proto), feeds);
    const graph = graphFromProto(proto);
    for (const input of [...graph.inputs]) {
      const tensor = feeds[input.name];
      if (!tensor) continue;
      // Conditions, trip counts and positions are inputs here; single numbers count as constant.
      if (tensor.size === 1) graph.inputToInitializer(input, tensor);
      else input.declared = tensor.dims;
    }
    liftParameters(graph, {});
    await runPass(expandBodies(), graph, passContext(graph));
    const reasons = graph.nodes
      .filter(({ op }) => bodies.test(op))
      .map(({ op, obstacle }) => `${op}: ${obstacle}`);
    expect(reasons).toEqual(left[name] ?? []);
    const fed = Object.entries(feeds).filter(([input]) => graph.inputs.some((value) => value.name === input));
    const after = await runGraph(graph, Object.fromEntries(fed));
    for (const [output, tensor] of before) {
      expect(after.get(output)?.dims, output).toEqual(tensor.dims);
      expect(after.get(output)?.data, output).toEqual(tensor.data);
    }
  });
});
