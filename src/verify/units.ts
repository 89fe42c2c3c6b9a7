import type { Matrix, UnitPlaces } from "../penalties/plain-layer.ts";

/** A tensor's numbers, one row per unit. */
export function byUnit({ units, length, at }: UnitPlaces, numbers: ArrayLike<number>): number[][] {
  return Array.from({ length: units }, (_, unit) => {
    const row = new Array<number>(length);
    for (let i = 0; i < length; i++) row[i] = numbers[at(unit, i)] as number;
    return row;
  });
}

/** Writes the units' numbers to their places in a tensor. */
export function inPlaces({ length, at }: UnitPlaces, matrix: Matrix): number[] {
  const numbers = new Array<number>(matrix.length * length).fill(0);
  matrix.forEach((row, unit) => {
    for (let i = 0; i < length; i++) numbers[at(unit, i)] = row[i] as number;
  });
  return numbers;
}
