#![no_main]

use longshore_testing::checks::amqp_content;

// With the feature `unguarded` the filter is left out, to see that the target finds what it is for.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    amqp_content::check(bytes, !cfg!(feature = "unguarded"));
});
