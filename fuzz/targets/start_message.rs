#![no_main]

use longshore_testing::checks::start_message;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| start_message::check(bytes));
