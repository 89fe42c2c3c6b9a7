import type { PerRun, RunName } from "./protocol.ts";

/** One step of a run: total loss and unweighted penalty. */
export interface StepPoint {
  readonly step: number;
  readonly loss: number;
  readonly penalty: number;
}

/** Figures of a run on the test samples, and of its layers, after a step. */
export interface TestPoint {
  readonly step: number;
  readonly loss: number | undefined;
  readonly accuracy: number | undefined;
  /** Distance of the angles from 90°, mean over the layers; see {@link distanceFromRight}. */
  readonly weightDistance: number | undefined;
  readonly responseDistance: number | undefined;
}

/** A history in the form that can be stored, by run. */
export type HistoryJson = PerRun<{
  readonly steps: readonly StepPoint[];
  readonly tests: readonly TestPoint[];
}>;

/** Root mean square distance of angles from 90°, of their mean and spread: 0° when all units are orthogonal. */
export const distanceFromRight = ({ mean, spread }: { mean: number; spread: number }): number =>
  Math.hypot(mean - 90, spread);

/** Most points of a run. */
const most = 4096;

/** The curves of both runs. A curve that grows too long loses every second point. */
export class History {
  #runs: Record<RunName, { steps: StepPoint[]; tests: TestPoint[]; stride: number }>;

  constructor(json?: HistoryJson) {
    const run = (name: RunName) => ({
      steps: [...(json?.[name].steps ?? [])],
      tests: [...(json?.[name].tests ?? [])],
      stride: 1,
    });
    this.#runs = { plain: run("plain"), som: run("som") };
    for (const name of ["plain", "som"] as const) {
      const { steps } = this.#runs[name];
      const [first, second] = steps;
      if (first && second) this.#runs[name].stride = Math.max(1, second.step - first.step);
    }
  }

  steps(run: RunName): readonly StepPoint[] {
    return this.#runs[run].steps;
  }

  tests(run: RunName): readonly TestPoint[] {
    return this.#runs[run].tests;
  }

  addSteps(run: RunName, points: readonly StepPoint[]): void {
    const own = this.#runs[run];
    for (const point of points) {
      if ((point.step - 1) % own.stride !== 0) continue;
      own.steps.push(point);
      if (own.steps.length <= most) continue;
      own.stride *= 2;
      own.steps = own.steps.filter(({ step }) => (step - 1) % own.stride === 0);
    }
  }

  /** Adds a test; it replaces an earlier test of the same step. */
  addTest(run: RunName, point: TestPoint): void {
    const own = this.#runs[run];
    if (own.tests.at(-1)?.step === point.step) own.tests.pop();
    own.tests.push(point);
    if (own.tests.length > most) own.tests = own.tests.filter((_, index) => index % 2 === 0);
  }

  /** Removes the points after a step, because a run that continues from there reports them again. */
  truncate(run: RunName, step: number): void {
    const own = this.#runs[run];
    own.steps = own.steps.filter((point) => point.step <= step);
    own.tests = own.tests.filter((point) => point.step <= step);
  }

  toJson(): HistoryJson {
    const { plain, som } = this.#runs;
    return {
      plain: { steps: plain.steps, tests: plain.tests },
      som: { steps: som.steps, tests: som.tests },
    };
  }
}

/**
 * A curve with less noise: each point is the mean of itself and the points before it, weighted so that a point `width` steps
 * back counts 1/e. The first points are means of fewer.
 */
export function smoothed(values: readonly number[], width: number): number[] {
  const keep = Math.exp(-1 / Math.max(width, 1e-9));
  let [sum, weight] = [0, 0];
  return values.map((value) => {
    sum = sum * keep + value;
    weight = weight * keep + 1;
    return sum / weight;
  });
}

/** At most `count` points of a list, evenly spaced and including the last one. */
export function thinned<T>(points: readonly T[], count: number): T[] {
  if (points.length <= count) return [...points];
  const stride = (points.length - 1) / (count - 1);
  return Array.from({ length: count }, (_, i) => points[Math.round(i * stride)] as T);
}
