#![no_main]

#[path = "../checks/amqp_content.rs"]
mod amqp_content;
#[path = "../checks/start_message.rs"]
mod start_message;

// With the feature `unguarded` the filter is left out, to see that the target finds what it is for.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    amqp_content::check(bytes, !cfg!(feature = "unguarded"));
});
