//! What a session description says of its recording: `a=record`, and `a=recordpref` (RFC 7866 §7.1.2,
//! §7.3.2). Neither passes from one leg to the other: each is between a party and who records.

use sdp_types::Attribute;

use super::Description;

const STATE: &str = "record";
const PREFERENCE: &str = "recordpref";

/// `a=record`: how it stands with the recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordState {
    /// Nothing is recorded.
    Off,
    /// It is recorded.
    On,
    /// A recording is under way and takes nothing now.
    Paused,
}

/// `a=recordpref`: what the author wants of the recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordPreference {
    /// To be recorded; on after a pause.
    On,
    /// Not to be recorded; no more.
    Off,
    /// To be paused where it is recorded.
    Pause,
}

impl RecordState {
    /// The attribute's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            RecordState::Off => "off",
            RecordState::On => "on",
            RecordState::Paused => "paused",
        }
    }

    fn parse(value: &str) -> Option<Self> {
        let all = [RecordState::Off, RecordState::On, RecordState::Paused];
        all.into_iter()
            .find(|state| state.as_str().eq_ignore_ascii_case(value))
    }
}

impl RecordPreference {
    /// The attribute's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            RecordPreference::On => "on",
            RecordPreference::Off => "off",
            RecordPreference::Pause => "pause",
        }
    }

    fn parse(value: &str) -> Option<Self> {
        let all = [
            RecordPreference::On,
            RecordPreference::Off,
            RecordPreference::Pause,
        ];
        all.into_iter()
            .find(|preference| preference.as_str().eq_ignore_ascii_case(value))
    }
}

impl Description {
    /// How the author says that it stands with the recording of its audio; `None` where it says nothing
    /// that is known.
    pub fn record_state(&self) -> Option<RecordState> {
        RecordState::parse(self.said_of_audio(STATE)?)
    }

    /// What the author wants of the recording of its audio; `None` where it has no preference, or none
    /// that is known.
    pub fn record_preference(&self) -> Option<RecordPreference> {
        RecordPreference::parse(self.said_of_audio(PREFERENCE)?)
    }

    /// The same description with this state of the recording, for the whole session, or with none.
    #[must_use]
    pub fn with_record_state(mut self, state: Option<RecordState>) -> Description {
        let session = &mut self.session;
        let lists = session.medias.iter_mut().map(|media| &mut media.attributes);
        for list in lists.chain([&mut session.attributes]) {
            list.retain(|a| !a.attribute.eq_ignore_ascii_case(STATE));
        }
        let line = state.map(|state| Attribute::with_value(STATE, state.as_str()));
        session.attributes.extend(line);
        self
    }

    /// The same description with this preference, for the whole session, or with none.
    #[must_use]
    pub fn with_record_preference(mut self, wanted: Option<RecordPreference>) -> Description {
        let session = &mut self.session;
        let lists = session.medias.iter_mut().map(|media| &mut media.attributes);
        for list in lists.chain([&mut session.attributes]) {
            list.retain(|a| !a.attribute.eq_ignore_ascii_case(PREFERENCE));
        }
        let line = wanted.map(|wanted| Attribute::with_value(PREFERENCE, wanted.as_str()));
        session.attributes.extend(line);
        self
    }

    /// Whether this is `before` said anew: another version of the same session that differs in nothing but
    /// what it says of the recording.
    pub fn is_anew(&self, before: &Description) -> bool {
        let bare = |of: &Description| {
            let mut bare = of.clone().with_record_state(None);
            bare.session.origin.sess_version = 0;
            bare.with_record_preference(None)
        };
        self.version() != before.version() && bare(self) == bare(before)
    }

    /// The value of the last line of this name at the audio, else of the session: what stands at a
    /// medium counts for that one in place of what stands above.
    fn said_of_audio(&self, name: &str) -> Option<&str> {
        let is_audio = |media: &&sdp_types::Media| {
            media.media.eq_ignore_ascii_case("audio") && media.port != 0
        };
        let media = self.session.medias.iter().find(is_audio);
        let own = media.and_then(|media| last(&media.attributes, name));
        own.or_else(|| last(&self.session.attributes, name))
    }
}

fn last<'a>(list: &'a [Attribute], name: &str) -> Option<&'a str> {
    let mut lines = list.iter().rev();
    let line = lines.find(|a| a.attribute.eq_ignore_ascii_case(name))?;
    Some(line.value.as_deref().unwrap_or_default().trim())
}

/// Whether an attribute speaks of the recording.
pub(super) fn is_of_recording(attribute: &Attribute) -> bool {
    [STATE, PREFERENCE]
        .iter()
        .any(|name| attribute.attribute.eq_ignore_ascii_case(name))
}
