//! Output modes: which formats a stream can be watched in.

crate::words! {
    /// The formats that a stream gets.
    OutputMode, "output mode" {
        /// RTMP and HTTP-FLV.
        Rtmp = "RTMP",
        /// HLS and MPEG-DASH.
        Cmaf = "CMAF",
        /// All four.
        RtmpCmaf = "RTMP_CMAF",
    }
}

impl OutputMode {
    /// Whether viewers get RTMP and HTTP-FLV.
    pub fn has_rtmp(self) -> bool {
        matches!(self, OutputMode::Rtmp | OutputMode::RtmpCmaf)
    }

    /// Whether viewers get HLS and MPEG-DASH.
    pub fn has_cmaf(self) -> bool {
        matches!(self, OutputMode::Cmaf | OutputMode::RtmpCmaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_has_its_formats() {
        let formats: Vec<_> = OutputMode::ALL.iter().map(|mode| (mode.as_str(), mode.has_rtmp(), mode.has_cmaf())).collect();
        assert_eq!(formats, [("RTMP", true, false), ("CMAF", false, true), ("RTMP_CMAF", true, true)]);
    }

    #[test]
    fn only_the_exact_words_are_read() {
        for mode in OutputMode::ALL {
            assert_eq!(mode.as_str().parse(), Ok(*mode));
        }
        let error = "HLS".parse::<OutputMode>().unwrap_err();
        assert_eq!(error.to_string(), "\"HLS\" is no output mode: it may be RTMP, CMAF, RTMP_CMAF");
    }
}
