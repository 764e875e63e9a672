// The door of settings: their table, the checks, the merge of all sources, and every limit by name.
export {
  checkSetting,
  checkValue,
  contains,
  isSettingName,
  nearest,
  show,
  unknownKey,
} from "./check.js";
export { ConfigError, type ConfigErrorCode } from "./errors.js";
export * as kinds from "./kinds.js";
export * from "./limits.js";
export * as limits from "./limits.js";
export {
  type Loaded,
  loadSettings,
  type Origin,
  type Remembered,
  type Sources,
} from "./load.js";
export {
  flagOf,
  label,
  type MeshSettingName,
  type MeshSettings,
  meshSettingNames,
  type Scope,
  SETTINGS,
  type Setting,
  type SettingName,
  type Settings,
  settingNames,
  variableOf,
} from "./settings.js";
