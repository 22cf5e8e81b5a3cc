//! What the settings hold that must be seen nowhere.

use super::Settings;

impl Settings {
    /// The secret key of the object store, the token of our own health checks and the password of the
    /// broker, this as it stands in the URL and as it is meant. None of it is empty. An access key only names its owner; and a
    /// password that is its user's name, as in the local stack, hides nothing, while to mask it would
    /// black out a word of everybody's output.
    #[must_use]
    pub fn credentials(&self) -> Vec<String> {
        let mut all = vec![self.store.secret_key.clone()];
        all.extend(self.http.token.clone());
        if let Some((user, password)) = login_of(&self.broker.url)
            && user != password
        {
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

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| *first == b'%');
        let byte =
            code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_of_a_url_is_found_and_decoded() {
        assert_eq!(login_of("amqp://bob:s%2fcret@mq:5673/jobs"), Some(("bob", "s%2fcret")));
        assert_eq!(login_of("amqp://mq"), None);
        assert_eq!(login_of("amqp://bob@mq"), None);
        assert_eq!(percent_decoded("s%2Fc%zret%"), "s/c%zret%");
    }
}
