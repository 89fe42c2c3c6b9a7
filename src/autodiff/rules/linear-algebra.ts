import { float, int } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { dimAt } from "../../graph/shapes.ts";
import { checkStored } from "../../graph/stored-lists.ts";
import { elementCount } from "../../onnx/tensor.ts";
import type { RuleTable } from "../rule.ts";

/** x·factor; x itself if the factor is 1. */
const scaled = (g: Emit, x: Typed, factor: number) => (factor === 1 ? x : g.mul(x, factor));

/** Joins all leading axes: […, m, n] → [rows, n]. */
function asMatrix(g: Emit, x: Typed): Typed {
  const columns = dimAt(x.shape, -1);
  return g.reshape(x, [elementCount(x.shape.slice(0, -1)), columns]);
}

export const linearAlgebra = {
  // y = a·b: da = dy·bᵀ, db = aᵀ·dy; vectors are matrices of one row or column
  MatMul: {
    vjp: (context, dy, g) => {
      const [a, b] = [context.input(0), context.input(1)];
      const left = a.shape.length === 1 ? g.reshape(a, [1, ...a.shape]) : a;
      const right = b.shape.length === 1 ? g.reshape(b, [...b.shape, 1]) : b;
      const rows = dimAt(left.shape, -2);
      const columns = dimAt(right.shape, -1);
      const lead = dy.shape.slice(
        0,
        dy.shape.length - (a.shape.length > 1 ? 1 : 0) - (b.shape.length > 1 ? 1 : 0),
      );
      const full = () => g.reshape(dy, [...lead, rows, columns]);
      return [
        () => {
          const product = g.matMul(full(), g.transposeLast(right));
          return a.shape.length === 1 ? g.sumTo(product, [1, ...a.shape]) : product;
        },
        () => {
          // One weight serves all leading rows: one product of the joined rows replaces a batch of products and their sum.
          if (right.shape.length === 2 && left.shape.length > 2) {
            return g.gemm(asMatrix(g, left), asMatrix(g, full()), { transA: true });
          }
          const product = g.matMul(g.transposeLast(left), full());
          return b.shape.length === 1 ? g.reshape(g.sumTo(product, [...b.shape, 1]), b.shape) : product;
        },
      ].map((thunk, index) => () => {
        const gradient = thunk();
        const { shape } = index === 0 ? a : b;
        return shape.length === 1 ? g.reshape(gradient, shape) : gradient;
      });
    },
    samples: [
      {
        inputs: [
          [2, 3],
          [3, 4],
        ],
      },
      {
        inputs: [
          [5, 2, 3],
          [3, 4],
        ],
        note: "batch by matrix",
      },
      {
        inputs: [
          [2, 3],
          [5, 3, 4],
        ],
        note: "matrix by batch",
      },
      {
        inputs: [
          [6, 1, 2, 3],
          [5, 3, 4],
        ],
        note: "batches broadcast",
      },
      { inputs: [[3], [3, 4]], note: "vector by matrix" },
      { inputs: [[2, 3], [3]], note: "matrix by vector" },
      { inputs: [[3], [3]], note: "vector by vector" },
      { inputs: [[5, 2, 3], [3]], note: "batch by vector" },
      { inputs: [[3], [5, 3, 4]], note: "vector by batch" },
    ],
    linear: true,
  },

  // y = α·A′B′ + βC with A′ = A or Aᵀ: dA and dB are products of dy with the other operand, transposed by Gemm's flags
  Gemm: {
    vjp: (context, dy, g) => {
      const [a, b] = [context.input(0), context.input(1)];
      const { node } = context;
      const [transA, transB] = [node.flag("transA"), node.flag("transB")];
      const alpha = node.float("alpha", 1);
      const beta = node.float("beta", 1);
      return [
        () =>
          scaled(
            g,
            transA ? g.gemm(b, dy, { transA: transB, transB: true }) : g.gemm(dy, b, { transB: !transB }),
            alpha,
          ),
        () =>
          scaled(
            g,
            transB ? g.gemm(dy, a, { transA: true, transB: transA }) : g.gemm(a, dy, { transA: !transA }),
            alpha,
          ),
        () => scaled(g, dy, beta),
      ];
    },
    samples: [
      { inputs: [[2, 3], [3, 4], [4]] },
      { inputs: [[2, 3], [4, 3], [4]], attributes: { transB: int(1) } },
      {
        inputs: [
          [3, 2],
          [3, 4],
          [2, 1],
        ],
        attributes: { transA: int(1) },
      },
      {
        inputs: [
          [3, 2],
          [4, 3],
        ],
        attributes: { transA: int(1), transB: int(1), alpha: float(0.5) },
      },
      { inputs: [[2, 3], [3, 4], []], attributes: { alpha: float(2), beta: float(0.25) } },
    ],
    linear: true,
  },

  // Jacobi's formula: dX = dy · matrix of cofactors, each the determinant without one row and one column. Also right for
  // singular matrices.
  Det: {
    vjp: (context, dy, g) => [
      () => {
        const x = context.input(0);
        const n = dimAt(x.shape, -1);
        const last = dy.shape.length;
        const gradient = g.reshape(dy, [...dy.shape, 1, 1]);
        if (n === 1) return gradient;
        checkStored(n * n);
        const others = g.constant(
          "int32",
          [n, n - 1],
          Int32Array.from({ length: n * (n - 1) }, (_, i) => {
            const [left, k] = [Math.floor(i / (n - 1)), i % (n - 1)];
            return k < left ? k : k + 1;
          }),
        );
        const rows = g.gather(x, others, last);
        const minors = g.gather(rows, others, last + 2);
        const order = [...dy.shape.map((_, axis) => axis), last, last + 2, last + 1, last + 3];
        const signs = Float32Array.from({ length: n * n }, (_, i) => (-1) ** (Math.floor(i / n) + (i % n)));
        const cofactors = g.mul(
          g.det(g.transpose(minors, order)),
          g.cast(g.constant("float", [n, n], signs), x.type),
        );
        return g.mul(gradient, cofactors);
      },
    ],
    samples: [
      { inputs: [[3, 3]] },
      { inputs: [[2, 2, 4, 4]], note: "batches" },
      { inputs: [[2, 2]] },
      { inputs: [[2, 1, 1]], note: "1 × 1" },
      { inputs: [{ shape: [2, 2], range: [0.5, 0.5] }], note: "singular" },
    ],
  },
} satisfies RuleTable;
