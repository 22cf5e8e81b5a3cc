#![no_main]

use longshore_testing::checks::result_json;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| result_json::check(bytes));
