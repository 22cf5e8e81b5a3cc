"""Run with: python3 -m unittest"""

import unittest

import main


class BotTest(unittest.TestCase):
    def test_it_buys_above_the_mean_and_sells_below_it(self):
        bot = main.Bot(2)
        self.assertEqual([bot.on_price(price) for price in [1, 2, 3, 1, 1]], ["wait", "buy", "hold", "sell", "wait"])

    def test_a_window_that_is_too_short_is_refused(self):
        with self.assertRaisesRegex(ValueError, "window must be 2 or more"):
            main.Bot(1)


if __name__ == "__main__":
    unittest.main()
