import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";

/** A value that is computed, or a node that is emitted, on first use. */
export function lazy<T>(build: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: build() };
    return made.value;
  };
}

/** An update in parts: value = factor · direction + decay · parameter. */
export interface UpdateParts {
  /** In the parameter's type and shape. */
  readonly direction: () => Typed;
  /** The scalar factor, multiplied by `by` where one is given. Left out: 1. */
  readonly factor?: (by: Typed | undefined) => Typed | undefined;
  /** The scalar by which the parameter itself shrinks. Left out: 0. */
  readonly decay?: () => Typed;
}

/** An update given by the parameter that results from it. */
export interface UpdateByResult {
  /** Emits the parameter after the update. */
  readonly next: () => Typed;
  /** Default: parameter − next. */
  readonly value?: () => Typed;
}

/**
 * The update of one parameter on its way through a chain: a gradient at first, at the end what is subtracted from the parameter.
 * Scalar factors stay apart from the direction until a tensor of the parameter's size is needed, so that the learning rate,
 * Adam's corrections and a clipped norm together cost one multiplication for each parameter. Nothing is emitted before
 * {@link value} or {@link next} is called.
 */
export class Update {
  readonly parameter: Typed;
  /** The update as one tensor, in the parameter's type and shape: next parameter = parameter − value. */
  readonly value: () => Typed;
  /** The parameter after the update. */
  readonly next: () => Typed;
  readonly #g: Emit;
  readonly #form: () => UpdateParts | UpdateByResult;

  /** @param form - the form of the update, or another update that it equals; evaluated on first use */
  constructor(g: Emit, parameter: Typed, form: () => Update | UpdateParts | UpdateByResult) {
    const resolved = lazy(form);
    const same = () => {
      const found = resolved();
      return found instanceof Update ? found : undefined;
    };
    this.#g = g;
    this.parameter = parameter;
    this.#form = () => {
      const found = resolved();
      return found instanceof Update ? found.#form() : found;
    };
    this.value = lazy(() => same()?.value() ?? this.#emitValue());
    this.next = lazy(() => same()?.next() ?? this.#emitNext());
  }

  /** This update times a scalar of the parameter's type. */
  scaled(by: () => Typed): Update {
    return new Update(this.#g, this.parameter, () => {
      const form = this.#form();
      const parts: UpdateParts = "next" in form || form.decay ? { direction: this.value } : form;
      const { direction, factor = (more) => more } = parts;
      return { direction, factor: (more) => factor(more ? product(this.#g, more, by()) : by()) };
    });
  }

  /** This update plus the parameter times a scalar. */
  decayed(by: () => Typed): Update {
    return new Update(this.#g, this.parameter, () => {
      const form = this.#form();
      const parts: UpdateParts = "next" in form ? { direction: this.value } : form;
      const { decay } = parts;
      return { ...parts, decay: decay ? () => this.#g.add(decay(), by()) : by };
    });
  }

  #emitValue(): Typed {
    const [g, form] = [this.#g, this.#form()];
    if ("next" in form) return form.value?.() ?? g.sub(this.parameter, form.next());
    const amount = this.#amount(form, form.factor?.(undefined));
    return form.decay ? g.add(amount, g.mul(this.parameter, form.decay())) : amount;
  }

  #emitNext(): Typed {
    const [g, form] = [this.#g, this.#form()];
    if ("next" in form) return form.next();
    const factor = form.factor?.(undefined);
    const kept = form.decay ? g.mul(this.parameter, remainder(g, form.decay())) : this.parameter;
    return g.sub(kept, this.#amount(form, factor));
  }

  #amount({ direction }: UpdateParts, factor: Typed | undefined): Typed {
    return factor ? this.#g.mul(direction(), factor) : direction();
  }
}

/** Updates of the same parameters, each by its own direction. */
export const updatesAlong = (
  g: Emit,
  updates: readonly Update[],
  direction: (index: number) => Typed,
): Update[] =>
  updates.map(({ parameter }, i) => new Update(g, parameter, () => ({ direction: () => direction(i) })));

/** Updates of the same parameters, each by the parameter that results from it. */
export const updatesTo = (
  g: Emit,
  updates: readonly Update[],
  next: (index: number, parameter: Typed) => Typed,
): Update[] =>
  updates.map(({ parameter }, i) => new Update(g, parameter, () => ({ next: () => next(i, parameter) })));

/** A scalar in the type of a parameter, cast once. */
export const inType = (g: Emit, scalar: Typed, type: Typed["type"]): Typed =>
  scalar.type === type ? scalar : g.once(`${scalar.name} as ${type}`, () => g.cast(scalar, type));

/** The product of two scalars, emitted once. */
const product = (g: Emit, a: Typed, b: Typed): Typed =>
  g.once(`product ${a.name} ${b.name}`, () => g.mul(a, b));

/** 1 − decay: the share of a parameter that remains. Emitted once. */
export const remainder = (g: Emit, decay: Typed): Typed =>
  g.once(`remainder ${decay.name}`, () => g.sub(1, decay));
