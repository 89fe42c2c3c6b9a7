import type { Lcg } from "../helpers/lcg.ts";

/** Numbers of several inputs by name. */
export type Point = ReadonlyMap<string, ArrayLike<number>>;

/** What a comparison of a gradient with difference quotients says. */
export type Verdict =
  | { readonly kind: "agrees"; readonly zero: boolean }
  /** The quotients agree with each other and not with the gradient. */
  | { readonly kind: "differs"; readonly message: string }
  /** The quotients do not agree with each other: a kink or a jump lies between the points. */
  | { readonly kind: "not smooth"; readonly message: string };

/** Steps tried from the largest on: a small one crosses fewer kinks, a large one rounds less. */
const steps = { float: [1e-2, 2e-3, 5e-4], double: [1e-3, 1e-4, 1e-5, 1e-6] };

/** How close a gradient has to come, relative to the size of what it is made of. */
export const tolerances = { float: 1e-3, double: 1e-8 };

/** Slopes below this are rounding errors of functions of size 1. */
const smallest = 1e-6;

const norm = (values: ArrayLike<number>): number =>
  Math.sqrt(Array.from(values).reduce((sum, value) => sum + value * value, 0));

/** A number for every element that moves: none where the point is not finite (masks of −inf). */
export function randomDirection(at: Point, random: Lcg): Map<string, number[]> {
  return new Map(
    [...at].map(([name, values]) => [
      name,
      Array.from(values, (value) => (Number.isFinite(value) ? 2 * random.next() - 1 : 0)),
    ]),
  );
}

/** A share of the whole gradient below which a gradient of one input is compared with that share, not with its own size. */
const leastShare = 1 / 30;

interface Comparison {
  readonly type: "float" | "double";
  readonly at: Point;
  /** An input without a gradient has the gradient 0. */
  readonly gradient: Point;
  /** The function, in double precision. */
  readonly f: (point: Point) => Promise<number>;
}

/**
 * Compares ⟨∇f, u⟩ with difference quotients of f along u, for one input after the other: were all moved at once, a wrong
 * gradient of one could hide behind large gradients of the others. Each quotient is extrapolated from the steps h and h/2
 * (Richardson), so that its error falls with h⁴.
 */
export async function compareAlong(direction: Point, comparison: Comparison): Promise<Verdict> {
  const names = [...comparison.at.keys()];
  const sizeOf = (name: string) =>
    norm(comparison.gradient.get(name) ?? []) * norm(direction.get(name) ?? []);
  const least = leastShare * names.reduce((sum, name) => sum + sizeOf(name), 0);
  let zero = true;
  for (const name of names) {
    const verdict = await compareInput(
      name,
      direction.get(name) ?? [],
      Math.max(sizeOf(name), least),
      comparison,
    );
    if (verdict.kind !== "agrees") return verdict;
    zero &&= verdict.zero;
  }
  return { kind: "agrees", zero };
}

/** @param u - the direction of that input. @param size - what errors are relative to */
async function compareInput(
  input: string,
  u: ArrayLike<number>,
  size: number,
  { type, at, gradient, f }: Comparison,
): Promise<Verdict> {
  const x = at.get(input) ?? [];
  const moved = (step: number) =>
    f(new Map([...at, [input, Array.from(x, (x, i) => x + step * (u[i] ?? 0))]]));
  const central = async (step: number) => ((await moved(step)) - (await moved(-step))) / (2 * step);

  const analytic = Array.from(gradient.get(input) ?? []).reduce(
    (sum, slope, i) => sum + slope * (u[i] ?? 0),
    0,
  );
  const of = `⟨∇f, u⟩ of ${input} = ${analytic}`;
  if (!Number.isFinite(analytic)) return { kind: "differs", message: of };
  const tolerance = tolerances[type];
  const quotients: number[] = [];
  for (const step of steps[type]) {
    const wide = await central(step);
    const quotient = (4 * (await central(step / 2)) - wide) / 3;
    const scale = Math.max(size + Math.abs(quotient), smallest);
    if (Math.abs(analytic - quotient) <= tolerance * scale) {
      return { kind: "agrees", zero: Math.abs(analytic) < tolerance && Math.abs(quotient) < tolerance };
    }
    quotients.push(quotient);
  }
  const message = `${of}, differences in ${type}: ${quotients.join(", ")}`;
  const scale = size + Math.max(...quotients.map(Math.abs));
  const consistent = quotients.some(
    (quotient, i) => i > 0 && Math.abs(quotient - (quotients[i - 1] as number)) <= tolerance * scale,
  );
  return { kind: consistent ? "differs" : "not smooth", message };
}

/**
 * The numbers of a test's data, moved off ties, kinks and jumps: each element a random part of the way to a random number
 * between the least and the greatest of its input, which keeps it where the operator is defined.
 */
export function offKinks(values: ArrayLike<number>, random: Lcg): number[] {
  const finite = Array.from(values).filter(Number.isFinite);
  const low = Math.min(...finite);
  const high = Math.max(...finite);
  return Array.from(values, (value) => {
    const [part, place] = [0.1 * random.next(), random.next()];
    if (!Number.isFinite(value)) return value;
    return low < high ? value + part * (low + place * (high - low) - value) : value + part * (value || 1);
  });
}
