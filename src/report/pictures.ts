/**
 * Options of `weightAngles` and `responseAngles` that measure what `angleReportPage` draws: histograms of 60 bins and heat
 * maps of at most 64 cells on a side.
 */
export const anglePictures = { bins: 60, mapSize: 64 } as const;
