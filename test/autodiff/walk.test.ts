import { describe, expect, test } from "vitest";
import type { RuleTable } from "../../src/autodiff/rule.ts";
import { rules } from "../../src/autodiff/table.ts";
import { backward } from "../../src/autodiff/walk.ts";
import { SorthError } from "../../src/errors.ts";
import { Emit } from "../../src/graph/emit.ts";
import type { Typed } from "../../src/graph/emit-base.ts";
import { Graph } from "../../src/graph/graph.ts";

/** x → Relu → unary `opType`s → y, all of shape [2, 3]. */
function chain(...opTypes: string[]) {
  const graph = new Graph("chain", new Map([["", 18]]));
  const g = new Emit(graph, { prefix: "layer/" });
  const x = graph.addInput("x", "float", [2, 3]) as Typed;
  const y = opTypes.reduce((value: Typed, opType) => g.op(opType, [value], [2, 3]), x);
  const emit = new Emit(graph, { prefix: "d/" });
  const differentiate = (table: RuleTable = rules) =>
    backward(graph, {
      wrt: [x],
      seeds: [{ value: y, gradient: () => emit.filled(1, [2, 3]) }],
      rules: table,
      emit,
    });
  return { graph, x, y, differentiate };
}

const thrownBy = (work: () => unknown): unknown => {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
};

test("a value of unknown type on the way is refused: it never counts as no path", () => {
  const { graph, differentiate } = chain("Relu", "Exp");
  graph.valueNamed("layer/Relu").type = undefined;
  expect(String(thrownBy(() => differentiate()))).toContain(
    'the type of "layer/Relu" is not known: ONNX Runtime infers none; it is needed on the path x → Relu',
  );
});

describe("an operator without a derivative", () => {
  const table: RuleTable = {
    Relu: rules.Relu as RuleTable[string],
    Exp: rules.Exp as RuleTable[string],
    Tan: { refused: "somebody forgot it" },
  };

  test("is named with its node, the reason and the path, and nothing is emitted", () => {
    const { graph, differentiate } = chain("Relu", "Exp", "Exp", "Tan", "Sin", "Relu");
    const error = thrownBy(() => differentiate(table));
    expect(error).toBeInstanceOf(SorthError);
    expect(String(error)).toBe(
      'SorthError: cannot differentiate Tan (node "layer/Tan"): somebody forgot it; it is needed on the path ' +
        'x → Relu "layer/Relu" → … → Tan "layer/Tan" → Sin "layer/Sin" → Relu "layer/Relu_2" → loss; ' +
        "also without a derivative: Sin",
    );
    expect(graph.nodes).toHaveLength(6);
  });

  test("does not matter where no gradient passes", () => {
    const { graph, x, differentiate } = chain("Relu");
    graph.addNode({ opType: "Nowhere", inputs: [x], outputs: ["beside"] });
    expect([...differentiate(table).keys()]).toEqual([x]);
  });

  test("is met behind operators that only move its quantized numbers", () => {
    const graph = new Graph("quantized", new Map([["", 18]]));
    const g = new Emit(graph, { prefix: "" });
    const x = graph.addInput("x", "float", [2, 3]) as Typed;
    const levels = g.op("QuantizeLinear", [x, g.scalar(0.1)], [2, 3], { type: "uint8" });
    const moved = g.op("Transpose", [levels], [3, 2]);
    const y = g.op("DequantizeLinear", [moved, g.scalar(0.1)], [3, 2], { type: "float" });
    const seeds = [{ value: y, gradient: () => g.filled(1, [3, 2]) }];
    expect(() => backward(graph, { wrt: [x], seeds, rules, emit: g })).toThrow(
      'cannot differentiate QuantizeLinear (node "QuantizeLinear"): it rounds to a few levels',
    );
  });

  test("may be an attribute that a rule refuses: the path is told too", () => {
    const refusing = {
      ...table,
      Exp: {
        vjp: () => {
          throw new SorthError('cannot differentiate Exp (node "layer/Exp"): odd attribute');
        },
        samples: [{ inputs: [] }],
      },
    } as RuleTable;
    const error = thrownBy(() => chain("Exp", "Relu").differentiate(refusing));
    expect(String(error)).toBe(
      'SorthError: cannot differentiate Exp (node "layer/Exp"): odd attribute; it is needed on the path ' +
        'x → Exp "layer/Exp" → Relu "layer/Relu" → loss',
    );
  });
});

describe("a value", () => {
  test("on which the seeds do not depend has no gradient, and emits nothing", () => {
    const { graph, differentiate } = chain("Relu", "Floor", "Exp");
    expect(differentiate().size).toBe(0);
    expect(graph.nodes).toHaveLength(3);
  });

  test("that is itself a seed gets that seed's gradient, summed with what comes back through its readers", () => {
    const graph = new Graph("seeds", new Map([["", 18]]));
    const g = new Emit(graph, { prefix: "" });
    const x = graph.addInput("x", "float", []) as Typed;
    const y = g.mul(x, 3);
    const seeds = [x, y, y].map((value) => ({ value, gradient: () => g.scalar(1) }));
    const gradient = backward(graph, { wrt: [x], seeds, rules, emit: g }).get(x);
    expect(gradient?.producer?.opType).toBe("Add");
  });
});
