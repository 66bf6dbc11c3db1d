import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "src"))

import rule


class Rule(unittest.TestCase):
    def test_radio_gets_cmaf_unless_the_url_says_otherwise(self):
        self.assertTrue(rule.cmaf_only("radio-1", None))
        self.assertFalse(rule.cmaf_only("radio-1", "RTMP"))
        self.assertFalse(rule.cmaf_only("stage", None))


if __name__ == "__main__":
    unittest.main()
