// Names AssemblyScript's number types for tsc, so that both compilers read assembly/shared.
// asc never reads this file (it has these types built in).
type u8 = number;
type u16 = number;
type u32 = number;
type i32 = number;
type usize = number;
