//! The methods of profiles (spec/pryv-api §9.1).

use homecore_types::ErrorId;

use super::{Answer, Description, Field, Member, Record, Type};

const ANSWERS: Answer = Answer::Members(&[Member::one("profile", "Profile")]);
const REFUSES: &[ErrorId] = &[ErrorId::InvalidParametersFormat, ErrorId::InvalidOperation];
const NAME: Field = Field::new("id", Type::Choice(&["public", "private"])).required();
const CHANGES: Field = Field::new("update", Type::Object).required();

pub(super) const GET_PUBLIC: Description = Description {
    summary: "The public profile, for every access",
    takes: Record::NOTHING,
    answers: ANSWERS,
    refuses: &[],
};

pub(super) const GET: Description = Description {
    summary: "A profile of the person's",
    takes: &Record::open(&[NAME]),
    answers: ANSWERS,
    refuses: REFUSES,
};

pub(super) const UPDATE: Description = Description {
    summary: "Changes a profile of the person's, key by key; null takes a key away",
    takes: &Record::open(&[NAME, CHANGES]),
    answers: ANSWERS,
    refuses: REFUSES,
};

pub(super) const GET_APP: Description = Description {
    summary: "The profile of the app that calls",
    takes: Record::NOTHING,
    answers: ANSWERS,
    refuses: REFUSES,
};

pub(super) const UPDATE_APP: Description = Description {
    summary: "Changes the profile of the app that calls, key by key; null takes a key away",
    takes: &Record::open(&[CHANGES]),
    answers: ANSWERS,
    refuses: REFUSES,
};
