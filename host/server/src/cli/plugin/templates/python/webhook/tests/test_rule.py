import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "src"))

import rule


class Rule(unittest.TestCase):
    def test_a_room_that_goes_live_is_told(self):
        self.assertEqual(rule.message("videoRoom.live", "room-1"), "Room room-1 is live.")
        self.assertIsNone(rule.message("member.created", None))

    def test_an_attempt_is_judged_by_its_status(self):
        self.assertEqual(rule.verdict(204, None), "done")
        self.assertEqual(rule.verdict(410, None), "give-up")
        self.assertEqual(rule.verdict(503, 2000), 2000)


if __name__ == "__main__":
    unittest.main()
