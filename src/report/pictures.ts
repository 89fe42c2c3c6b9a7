/**
 * Options of `weightAngles` and `responseAngles` for the pictures of `angleReportPage`: histograms of 60 bins and heat maps
 * of at most 64 cells on a side.
 */
export const anglePictures = { bins: 60, mapSize: 64 } as const;
