import { DataType, type DataTypeName, isFloat } from "../onnx/data-types.ts";
import { elementCount } from "../onnx/tensor.ts";
import { float, int } from "./attribute.ts";
import { EmitBase, type Typed, typed } from "./emit-base.ts";
import type { Value } from "./node.ts";
import { broadcastShapes, type Shape, sameShape } from "./shapes.ts";

/** An operand of an elementwise operator: a value, or a number that becomes a scalar of the other operand's type. */
export type Operand = Value | number;

/** The elementwise operators of {@link Emit}. */
export class EmitElementwise extends EmitBase {
  // Elementwise, one operand.
  /** −x. */
  neg = (x: Value): Typed => this.#unary("Neg", x);
  /** eˣ. */
  exp = (x: Value): Typed => this.#unary("Exp", x);
  /** The natural logarithm. */
  log = (x: Value): Typed => this.#unary("Log", x);
  /** √x. */
  sqrt = (x: Value): Typed => this.#unary("Sqrt", x);
  /** 1/x. */
  reciprocal = (x: Value): Typed => this.#unary("Reciprocal", x);
  /** max(x, 0). */
  relu = (x: Value): Typed => this.#unary("Relu", x);
  /** tanh x. */
  tanh = (x: Value): Typed => this.#unary("Tanh", x);
  /** 1/(1 + e⁻ˣ). */
  sigmoid = (x: Value): Typed => this.#unary("Sigmoid", x);
  /** log(1 + eˣ). */
  softplus = (x: Value): Typed => this.#unary("Softplus", x);
  /** |x|. */
  abs = (x: Value): Typed => this.#unary("Abs", x);
  /** The error function. */
  erf = (x: Value): Typed => this.#unary("Erf", x);
  /** sin x. */
  sin = (x: Value): Typed => this.#unary("Sin", x);
  /** cos x. */
  cos = (x: Value): Typed => this.#unary("Cos", x);
  /** The largest integer up to x. */
  floor = (x: Value): Typed => this.#unary("Floor", x);
  /** x as a new value. */
  identity = (x: Value): Typed => this.#unary("Identity", x);
  /** Whether x is false. */
  not = (x: Value): Typed => this.#unary("Not", x);

  // Elementwise, two operands that broadcast.
  /** a + b. */
  add = (a: Operand, b: Operand): Typed => this.#binary("Add", a, b);
  /** a − b. */
  sub = (a: Operand, b: Operand): Typed => this.#binary("Sub", a, b);
  /** a · b. */
  mul = (a: Operand, b: Operand): Typed => this.#binary("Mul", a, b);
  /** a / b. */
  div = (a: Operand, b: Operand): Typed => this.#binary("Div", a, b);
  /** aᵇ. */
  pow = (a: Operand, b: Operand): Typed => this.#binary("Pow", a, b);
  /** The larger of both. */
  max = (a: Operand, b: Operand): Typed => this.#binary("Max", ...this.#sameShape(a, b));
  /** The smaller of both. */
  min = (a: Operand, b: Operand): Typed => this.#binary("Min", ...this.#sameShape(a, b));
  /** Whether a = b. */
  equal = (a: Operand, b: Operand): Typed => {
    // Equal accepts floats since opset 11.
    if (this.opset >= 11 || !isFloat(this.#operands(a, b)[0].type))
      return this.#binary("Equal", a, b, "bool");
    return this.not(this.#binary("Or", this.greater(a, b), this.less(a, b), "bool"));
  };
  /** Whether a > b. */
  greater = (a: Operand, b: Operand): Typed => this.#binary("Greater", a, b, "bool");
  /** Whether a < b. */
  less = (a: Operand, b: Operand): Typed => this.#binary("Less", a, b, "bool");
  /** Whether a ≥ b. */
  greaterOrEqual = (a: Operand, b: Operand): Typed => this.#binary("GreaterOrEqual", a, b, "bool");
  /** Whether a ≤ b. */
  lessOrEqual = (a: Operand, b: Operand): Typed => this.#binary("LessOrEqual", a, b, "bool");
  /** Whether both are true. */
  and = (a: Value, b: Value): Typed => this.#binary("And", a, b, "bool");

  /** `condition ? a : b`, all three broadcast. */
  where(condition: Value, a: Operand, b: Operand): Typed {
    const [x, y] = this.#operands(a, b);
    const shape = broadcastShapes(typed(condition).shape, broadcastShapes(x.shape, y.shape));
    if (this.opset < 9) {
      // This opset lacks Where: use products with 0 and 1, which need finite numbers.
      const chosen = this.indicator(condition, x.type);
      return this.add(this.mul(chosen, x), this.mul(this.sub(1, chosen), y));
    }
    const inputs = [typed(condition), x, y].map((input) => this.#ofRankOf({ shape }, input));
    return this.op("Where", inputs, shape, { type: x.type });
  }

  /** x converted to another element type. */
  cast(x: Value, type: DataTypeName): Typed {
    const { shape } = typed(x);
    if (x.type === type) return x as Typed;
    return this.op("Cast", [x], shape, { type, attributes: { to: int(DataType[type]) } });
  }

  /** 1 where the condition holds and 0 elsewhere, as numbers of `type`. */
  indicator = (condition: Value, type: DataTypeName): Typed => this.cast(condition, type);

  /** clamp(slope·x + offset, 0, 1), by one operator for float32 and three for other types. */
  hardSigmoid(x: Value, slope: number, offset: number): Typed {
    if (x.type === "float") return this.unaryWith("HardSigmoid", x, { alpha: slope, beta: offset });
    return this.min(this.max(this.add(this.mul(x, slope), offset), 0), 1);
  }

  /**
   * 1 where x > 0 and 0 elsewhere, as numbers of x's type. For float32 this is one pass: clamp(x·3e38, 0, 1), which is exact
   * for all numbers but denormal ones.
   */
  positive = (x: Value): Typed =>
    x.type === "float"
      ? this.hardSigmoid(x, stepSlope, 0)
      : this.indicator(this.greater(x, 0), typed(x).type);

  /** x², by one multiplication. */
  square = (x: Value): Typed => this.mul(x, x);

  /** An elementwise operator with float attributes, such as LeakyRelu. */
  unaryWith(opType: string, x: Value, attributes: Record<string, number>): Typed {
    return this.op(opType, [x], typed(x).shape, {
      attributes: Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name, float(value)])),
    });
  }

  #unary(opType: string, x: Value): Typed {
    return this.op(opType, [x], typed(x).shape);
  }

  #binary(opType: string, a: Operand, b: Operand, type?: DataTypeName): Typed {
    const [x, y] = this.#operands(a, b);
    return this.op(opType, [x, y], broadcastShapes(x.shape, y.shape), { type: type ?? x.type });
  }

  /** Operands of Max and Min, which broadcast since opset 8. */
  #sameShape(a: Operand, b: Operand): [Typed, Typed] {
    const [x, y] = this.#operands(a, b);
    if (this.opset >= 8 || sameShape(x.shape, y.shape)) return [x, y];
    return [this.add(x, this.mul(y, 0)), this.add(y, this.mul(x, 0))];
  }

  #operands(a: Operand, b: Operand): [Typed, Typed] {
    if (typeof a === "number" && typeof b === "number") return [this.scalar(a), this.scalar(b)];
    const [x, y] = [a, b].map((operand) => (typeof operand === "number" ? undefined : typed(operand)));
    const known = (x ?? y) as Typed;
    const left = x ?? this.#scalarBeside(known, a as number);
    const right = y ?? this.#scalarBeside(known, b as number);
    return [this.#ofRankOf(right, left), this.#ofRankOf(left, right)];
  }

  #scalarBeside = (tensor: Typed, value: number): Typed =>
    this.scalar(value, tensor.type, needsFullRank(tensor.shape) ? tensor.shape.length : 0);

  /** The single number `number`, reshaped to the rank of a tensor if ONNX Runtime would be slow otherwise. */
  #ofRankOf({ shape }: Pick<Typed, "shape">, number: Typed): Typed {
    const rank = shape.length;
    if (elementCount(number.shape) !== 1 || number.shape.length >= rank || !needsFullRank(shape))
      return number;
    return this.once(`${number.name} in rank ${rank}`, () =>
      this.op("Reshape", [number, this.int64s(ones(rank))], ones(rank)),
    );
  }
}

/** The slope of a HardSigmoid that stands for a step from 0 to 1. */
const stepSlope = 3e38;

/**
 * Whether combining a tensor of this shape with a number of lower rank is slow: ONNX Runtime goes number by number if the last
 * axis has length 1. Measured on the CPU: [1280, 320, 1, 1] × [] takes 1.88 ms, × [1, 1, 1, 1] 0.04 ms; Where with a condition
 * of shape [] 5.1 ms, of [1, 1, 1, 1] 0.10 ms. For less than some thousands of numbers, a node itself costs more.
 */
export const needsFullRank = (shape: Shape): boolean =>
  shape.length > 1 && shape.at(-1) === 1 && elementCount(shape) >= 4096;

const ones = (rank: number): number[] => Array.from({ length: rank }, () => 1);
