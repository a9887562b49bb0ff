// What tsc checks the dashboard against: Grafana's own types.  They name the members of
// enumerations where JSON has their texts, so those are taken for the texts here.
import type {Dashboard as Official} from "@grafana/schema";

type AsWritten<T> = T extends string
  ? `${T}`
  : T extends readonly (infer Each)[]
    ? AsWritten<Each>[]
    : T extends object
      ? {[Key in keyof T]: AsWritten<T[Key]>}
      : T;

export type Dashboard = AsWritten<Official>;
