import { describe, expect, test } from "vitest";
import { messageOf } from "../../../src/errors.ts";
import { checkGraph } from "../../../src/graph/check.ts";
import { graphFromProto, graphToProto, opsetsOf } from "../../../src/graph/proto.ts";
import { decodeModelProto, encodeModelProto } from "../../../src/onnx/codec.ts";
import { dataTypeName } from "../../../src/onnx/data-types.ts";
import type { Tensor } from "../../../src/onnx/tensor.ts";
import { raiseOpset } from "../../../src/passes/opset/raise-opset.ts";
import { runGraphPass } from "../../../src/passes/pass.ts";
import { crossesTheBinding } from "../../../src/runtime/ort-tensor.ts";
import {
  backendDataMissing,
  backendInputs,
  backendModel,
  backendModels,
} from "../../helpers/backend-models.ts";
import { plain } from "../../helpers/plain-tensors.ts";
import { runModel } from "../../helpers/run-model.ts";

/** Models of opsets 7 to 17; older ones are refused, and those in `light` come without data. */
const models = (backendDataMissing ? [] : backendModels).filter((name) => {
  if (name.startsWith("light")) return false;
  const opset = opsetsOf(decodeModelProto(backendModel(name))).get("") ?? 0;
  return opset >= 7 && opset < 18;
});

type Outcome = "the same" | "refused by an adapter" | "not run by ONNX Runtime" | "no plain tensors";

describe.skipIf(backendDataMissing)(`backend models of opsets 7 to 17 ${backendDataMissing || ""}`, () => {
  test("compute the same in opset 18", async () => {
    const counts = new Map<Outcome, number>();
    const refused: string[] = [];
    for (const name of models) {
      const outcome = await compare(name, refused);
      counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
    }
    console.log([...counts].map(([outcome, count]) => `${count} ${outcome}`).join(", "));
    expect(refused).toEqual([
      expect.stringContaining('node/test_scan_sum.onnx: Scan node "y" cannot be raised from opset 8 to 18'),
    ]);
    expect(counts.get("the same")).toBeGreaterThan(500);
  });
});

async function compare(name: string, refused: string[]): Promise<Outcome> {
  const bytes = backendModel(name);
  const feeds = feedsOf(name, bytes);
  if (!feeds) return "no plain tensors";
  let before: Record<string, Tensor>;
  try {
    before = await runModel(bytes, feeds, { optimize: false });
  } catch {
    return "not run by ONNX Runtime";
  }
  const graph = graphFromProto(decodeModelProto(bytes));
  try {
    runGraphPass(raiseOpset(), graph);
  } catch (error) {
    refused.push(`${name}: ${messageOf(error)}`);
    return "refused by an adapter";
  }
  checkGraph(graph);
  const after = await runModel(encodeModelProto(graphToProto(graph)), feeds, { optimize: false });
  expect(plain(after), name).toEqual(plain(before));
  return "the same";
}

/** The data of a model's test; nothing where it is no plain tensor that the bindings carry. */
function feedsOf(name: string, bytes: Uint8Array): Record<string, Tensor> | undefined {
  const model = decodeModelProto(bytes);
  const carried = (type: number | null | undefined) =>
    crossesTheBinding(dataTypeName(type ?? 0)) && dataTypeName(type ?? 0) !== "string";
  const infos = [...(model.graph?.input ?? []), ...(model.graph?.output ?? [])];
  if (!infos.every(({ type }) => carried(type?.tensorType?.elemType))) return undefined;
  const inputs = backendInputs(name, model) as Tensor[];
  return Object.fromEntries(inputs.map((tensor) => [tensor.name, tensor]));
}
