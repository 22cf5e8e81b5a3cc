//! The secrets in the settings, which nobody may see.

use super::url::percent_decoded;
use super::{Settings, broker_urls};

impl Settings {
    /// The secret key of the object store, the token of our health checks, and the passwords of the
    /// broker, both encoded as in the URL and decoded. None is empty. The access key is not
    /// included, because it only names its owner. A password that equals its user's name, as in the
    /// local stack, is not included either: it hides nothing, and a mask for it would remove a
    /// common word from everybody's output.
    #[must_use]
    pub fn credentials(&self) -> Vec<String> {
        let mut all = vec![self.store.secret_key.clone()];
        all.extend(self.http.token.clone());
        let logins = broker_urls(&self.broker.url).into_iter().filter_map(login_of);
        for (_, password) in logins.filter(|(user, password)| user != password) {
            all.extend([percent_decoded(password), password.to_owned()]);
        }
        all.retain(|one| !one.is_empty());
        all.sort();
        all.dedup();
        all
    }
}

fn login_of(url: &str) -> Option<(&str, &str)> {
    let (_, rest) = url.split_once("://")?;
    let (login, _) = rest.rsplit_once('@')?;
    login.split_once(':')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Sources;

    #[test]
    fn the_passwords_of_all_hosts_are_secrets() {
        let url = "amqp://me:first@a,amqp://me:sec%6fnd@b,amqp://same:same@c";
        let sources = Sources::of(&[
            ("AMQP_URL", url),
            ("MINIO_ENDPOINT", "s3"),
            ("MINIO_ACCESS_KEY", "a"),
            ("MINIO_SECRET_KEY", "s"),
            ("WORKER_NAME", "w"),
        ]);
        let found = Settings::load(sources).unwrap().credentials();
        assert_eq!(found, ["first", "s", "sec%6fnd", "second"]);
    }

    #[test]
    fn the_password_of_a_url_is_found_and_decoded() {
        assert_eq!(login_of("amqp://bob:s%2fcret@mq:5673/jobs"), Some(("bob", "s%2fcret")));
        assert_eq!(login_of("amqp://mq"), None);
        assert_eq!(login_of("amqp://bob@mq"), None);
        assert_eq!(percent_decoded("s%2Fc%zret%"), "s/c%zret%");
    }
}
