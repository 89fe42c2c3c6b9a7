const degrees = 180 / Math.PI;

/**
 * Spread that angles between random directions in d dimensions have around 90°, in degrees: about 180/(π√d), the spread of
 * their cosine (exactly 1/√d). Their density is sin^(d−2); integration by parts gives Var(d) = Var(d − 2) − 2/(d − 2)² with
 * Var(1) = π²/4 and Var(2) = π²/12.
 */
export function randomSpread(dimensions: number): number {
  let variance = dimensions % 2 === 1 ? Math.PI ** 2 / 4 : Math.PI ** 2 / 12;
  for (let n = dimensions % 2 === 1 ? 1 : 2; n < dimensions; n += 2) variance -= 2 / n ** 2;
  return Math.sqrt(variance) * degrees;
}

/**
 * The least coherence that k unit vectors in d dimensions can have: √((k − d)/(d(k − 1))) if there are more vectors than
 * dimensions, else 0 (L. Welch, "Lower bounds on the maximum cross correlation of signals", 1974, eq. for k = 1).
 *
 * @example
 * welchBound(3, 2); // 0.5: three directions in the plane, 120° apart (or 60°)
 */
export function welchBound(units: number, dimensions: number): number {
  return units > dimensions ? Math.sqrt((units - dimensions) / (dimensions * (units - 1))) : 0;
}
