//! What a start message says about an input.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An object of the inputs bucket, and where the program finds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Its key in the inputs bucket. It does not end in a slash and has no backslash.
    #[schemars(
        length(min = 1, max = 1024),
        regex(pattern = r"^[^\u0000-\u001f\u007f\\]*[^\u0000-\u001f\u007f\\/]$")
    )]
    pub key: String,
    /// Where it is: a path relative to the code, with `/` between its parts. With `unpack` it is a
    /// folder. It may lie in a folder of the code, but not in place of one of its files.
    #[schemars(
        length(min = 1, max = 512),
        regex(
            pattern = r"^[^\u0000-\u001f\u007f\\/]([^\u0000-\u001f\u007f\\]*[^\u0000-\u001f\u007f\\/])?$"
        )
    )]
    pub path: String,
    /// SHA-256 of the object, in hexadecimal. Checked when given. Where a worker has these bytes
    /// already, it does not ask the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
    /// Whether the object is a zip or a tar (plain, or packed with gzip or Zstandard) whose content
    /// is to be in the folder `path`. By default it is a file, whatever is in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unpack: bool,
}
