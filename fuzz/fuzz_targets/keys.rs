#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sayso::fuzzing::as_in_production(sayso::fuzzing::keys, bytes));
