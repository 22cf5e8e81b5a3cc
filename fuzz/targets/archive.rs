#![no_main]

use longshore_testing::checks::archive;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| archive::check(bytes));
