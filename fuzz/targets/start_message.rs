#![no_main]

#[path = "../checks/start_message.rs"]
mod start_message;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| start_message::check(bytes));
