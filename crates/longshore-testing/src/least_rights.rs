//! A publisher who may only publish jobs of one namespace.

use reqwest::Method;
use serde_json::json;

use super::servers::{Management, amqp_url};

/// A user of the broker with the least rights that a publisher needs. A scene's end removes it, too.
pub struct Publisher {
    user: String,
    url: String,
}

impl Publisher {
    /// Makes the user.
    pub async fn new(namespace: &str) -> Self {
        let (user, password) = (format!("{namespace}-publisher"), uuid::Uuid::new_v4().simple());
        let management = Management::new();
        let rights = json!({
            "configure": "^$",
            "write": format!("^{namespace}\\.jobs$"),
            "read": "^$",
        });
        let account = json!({ "password": password.to_string(), "tags": "" });
        management.call(Method::PUT, &format!("users/{user}"), Some(account)).await;
        management.call(Method::PUT, &format!("permissions/%2f/{user}"), Some(rights)).await;
        let shared = amqp_url();
        let (_, place) = shared.rsplit_once('@').unwrap();
        let url = format!("amqp://{user}:{password}@{place}");
        Self { user, url }
    }

    /// Where it connects to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Removes the user.
    pub async fn remove(self) {
        let user = &self.user;
        Management::new().call(Method::DELETE, &format!("users/{user}"), None).await;
    }
}
