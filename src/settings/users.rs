//! As whom programs run: one user for all of them, or a range of users, one for each container.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::number::whole;

/// The fewest users of a range. Containers pick theirs at random, and must not clash all the time.
pub(super) const FEWEST: u32 = 1024;

/// The highest number of a user. For the kernel, the next number means "none".
const LAST_USER: u32 = u32::MAX - 1;

/// A user and a group by number. The image does not have to know them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl User {
    /// The user that may do everything its container allows.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

/// In the engine's form, `uid:gid`.
impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// Why a text names no user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a user by number")]
pub struct NoUser;

/// `uid`, whose group has the same number, or `uid:gid`.
impl FromStr for User {
    type Err = NoUser;

    fn from_str(text: &str) -> Result<Self, NoUser> {
        let number =
            |digits| whole(digits).and_then(|number| u32::try_from(number).ok()).ok_or(NoUser);
        let (uid, gid) = text.split_once(':').unwrap_or((text, text));
        Ok(Self { uid: number(uid)?, gid: number(gid)? })
    }
}

/// As whom programs run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Users {
    /// All as the same user.
    One(User),
    /// Each container as its own user, whose group has the same number. So what the kernel counts
    /// by user, it counts for one job.
    Range {
        /// The first user.
        first: u32,
        /// The last.
        last: u32,
    },
}

impl Users {
    /// The range if an engine maps users: most engines give a container only the numbers below
    /// 65,536. The engine decides which users they are on the host.
    const MAPPED: Self = Self::Range { first: 30_000, last: 65_533 };

    /// These, for an engine that maps the users of its containers to others of the host.
    #[must_use]
    pub fn for_mapping_engine(self) -> Self {
        match self {
            Self::Range { last, .. } if last > u32::from(u16::MAX) => Self::MAPPED,
            as_it_is => as_it_is,
        }
    }

    /// Whether a program may run as the user with this number.
    #[must_use]
    pub fn may_be(self, uid: u32) -> bool {
        match self {
            Self::One(user) => user.uid == uid,
            Self::Range { first, last } => (first..=last).contains(&uid),
        }
    }

    /// Whether each container has a user of its own.
    #[must_use]
    pub fn are_several(self) -> bool {
        matches!(self, Self::Range { .. })
    }

    /// A user that is not `taken`. The search begins at the position in the range that `chance`
    /// says. `None` if all are taken.
    #[must_use]
    pub fn pick(self, chance: u32, taken: &BTreeSet<u32>) -> Option<User> {
        let Self::Range { first, last } = self else {
            let Self::One(user) = self else { return None };
            return Some(user);
        };
        let from = first + chance % (last - first + 1);
        let free = (from..=last).chain(first..from).find(|uid| !taken.contains(uid));
        free.map(|uid| User { uid, gid: uid })
    }
}

impl fmt::Display for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(user) => user.fmt(f),
            Self::Range { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

/// One user, or `first-last`: users that are not root, and at least [`FEWEST`] of them.
impl FromStr for Users {
    type Err = NoUser;

    fn from_str(text: &str) -> Result<Self, NoUser> {
        let Some((first, last)) = text.split_once('-') else {
            return text.parse().map(Self::One);
        };
        let number = |digits: &str| digits.parse::<User>().map(|user| user.uid);
        let (first, last) = (number(first)?, number(last)?);
        let is_one_number_each = !text.contains(':');
        let are_enough = last.checked_sub(first).is_some_and(|more| more >= FEWEST - 1);
        if is_one_number_each && first > 0 && last <= LAST_USER && are_enough {
            Ok(Self::Range { first, last })
        } else {
            Err(NoUser)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(text: &str) -> Result<Users, NoUser> {
        text.parse()
    }

    #[test]
    fn a_range_has_no_root_and_enough_users() {
        let range = |first, last| Ok(Users::Range { first, last });
        assert_eq!(users("65536-99999"), range(65_536, 99_999));
        assert_eq!(users("1-1024"), range(1, 1024));
        assert_eq!(users("0:0"), Ok(Users::One(User::ROOT)));
        for bad in ["0-5000", "1-1023", "9-1", "1-", "-1", "1:2-4000", "1-4294967295", "a-b"] {
            assert_eq!(users(bad), Err(NoUser), "{bad}");
        }
    }

    #[test]
    fn a_user_that_is_taken_is_never_picked_again() {
        let range = users("1000-2023").unwrap();
        let mut taken = BTreeSet::new();
        for chance in 0_u32..1024 {
            let user = range.pick(chance.wrapping_mul(2_654_435_761), &taken).unwrap();
            assert!((1000..=2023).contains(&user.uid) && user.gid == user.uid);
            assert!(taken.insert(user.uid), "{user} twice");
        }
        assert_eq!(range.pick(7, &taken), None);
    }

    #[test]
    fn one_user_is_everybodys() {
        let one = Users::One(User { uid: 7, gid: 8 });
        assert_eq!(one.pick(3, &BTreeSet::from([7])), Some(User { uid: 7, gid: 8 }));
    }

    #[test]
    fn an_engine_that_maps_users_gets_numbers_that_it_can_map() {
        let mapped = users("65536-99999").unwrap().for_mapping_engine();
        assert!(matches!(mapped, Users::Range { last, .. } if last <= 65_535));
        let fits = users("20000-40000").unwrap();
        assert_eq!(fits.for_mapping_engine(), fits);
        let one = Users::One(User { uid: 70_000, gid: 7 });
        assert_eq!(one.for_mapping_engine(), one);
    }
}
