#![no_main]

#[path = "../checks/result_json.rs"]
mod result_json;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| result_json::check(bytes));
