//! How somebody is recorded, as words of the configuration.

/// How a user, a queue or a virtual line is recorded.
#[derive(Debug, Clone)]
pub struct Rules {
    /// As the configuration writes it.
    pub mode: &'static str,
    /// Whether start and stop are told within the house.
    pub announce_internal: bool,
    /// Whether they are told on calls with the public network.
    pub announce_pstn: bool,
    /// Whether a start is told again when a pause is over.
    pub after_resume: bool,
    /// Whether a party on the public network is told in another way: on calls from there, to there.
    pub compliance: [bool; 2],
    /// How long after the answer that begins on calls to there, in seconds.
    pub delay_s: u32,
    /// `none`, `beep` or `announcement`.
    pub notice: &'static str,
    /// Whether a tone sounds every ten seconds.
    pub repeat_tone: bool,
    /// After how many seconds a pause ends by itself.
    pub auto_resume_s: Option<u32>,
    /// Which calls: inbound internal, inbound external, outbound internal, outbound external.
    pub selective: [bool; 4],
    /// Whether emergency calls are recorded.
    pub emergency: bool,
    /// Whether calls with a voicemail system are recorded.
    pub voicemail: bool,
    /// Numbers that leave no audio.
    pub do_not_record: Vec<&'static str>,
    /// What becomes of a call that cannot be recorded, as the configuration writes it.
    pub on_failure: &'static str,
}

impl Rules {
    /// Every call in this mode, and told of on all of them.
    #[must_use]
    pub fn new(mode: &'static str) -> Rules {
        Rules {
            mode,
            announce_internal: true,
            announce_pstn: true,
            after_resume: false,
            compliance: [false; 2],
            delay_s: 0,
            notice: "none",
            repeat_tone: false,
            auto_resume_s: None,
            selective: [true; 4],
            emergency: true,
            voicemail: true,
            do_not_record: Vec::new(),
            on_failure: "refuse",
        }
    }

    /// The lines of the section in the configuration.
    #[must_use]
    pub fn lines(&self) -> String {
        let switch = |on: bool| if on { "on" } else { "off" };
        let kept = |on: bool| if on { "recorded" } else { "left" };
        let [ii, ie, oi, oe] = self.selective.map(switch);
        let list = self.do_not_record.iter();
        let list: Vec<String> = list
            .map(|number| format!("{{ number = \"{number}\", reason = \"personal\" }}"))
            .collect();
        let auto_resume = self.auto_resume_s.map(|seconds| format!("{seconds}s"));
        format!(
            "mode = \"{}\"\nannounce = {{ internal = \"{}\", pstn = \"{}\", after_resume = \"{}\" }}\n\
             compliance = {{ inbound = \"{}\", outbound = \"{}\", delay = \"{}s\" }}\n\
             notice = \"{}\"\nrepeat_tone = \"{}\"\nauto_resume = \"{}\"\non_failure = \"{}\"\n\
             selective = {{ inbound_internal = \"{ii}\", inbound_external = \"{ie}\", \
             outbound_internal = \"{oi}\", outbound_external = \"{oe}\" }}\n\
             emergency = \"{}\"\nvoicemail = \"{}\"\ndo_not_record = [{}]\n",
            self.mode,
            switch(self.announce_internal),
            switch(self.announce_pstn),
            switch(self.after_resume),
            switch(self.compliance[0]),
            switch(self.compliance[1]),
            self.delay_s,
            self.notice,
            if self.repeat_tone { "10s" } else { "off" },
            auto_resume.as_deref().unwrap_or("off"),
            self.on_failure,
            kept(self.emergency),
            kept(self.voicemail),
            list.join(", "),
        )
    }
}
